// SPDX-License-Identifier: Apache-2.0
//
// How a thread gets between two nops at the right moment: a signal handler of its own returns there.

#ifndef CTS_WALK_H
#define CTS_WALK_H

#include <stdbool.h>
#include <stdint.h>

/// Whether a real-time signal waits for this thread: the stop signal.
bool cts_stop_is_pending(void);
/// In a handler: it will return to `place`, as by a call from what it interrupted. For a signal of
/// cts_signal_itself.
void cts_return_into(void *context, uint64_t place);
/// Sends this thread a signal whose handler may use cts_return_into.
void cts_signal_itself(int signal);

#endif
