// SPDX-License-Identifier: Apache-2.0
//
// Threads that stand, or will return to, between two nops of a run when they are stopped.

#ifndef CTS_STANDERS_H
#define CTS_STANDERS_H

#include <stdbool.h>
#include <stdint.h>

enum {
  CTS_STANDS = 1,               ///< it is stopped there
  CTS_STANDS_IN_HANDLER = 2,    ///< a signal interrupted it there; its handler runs
  CTS_STANDS_IN_OWN_STACK = 3,  ///< the same, with an alternate stack
  CTS_STANDS_ASLEEP = 4,        ///< the handler sleeps in a system call
  CTS_STANDS_IN_NESTED = 5,     ///< the handler was interrupted by another, on an alternate stack
  CTS_STANDS_AT_RETURN = 6,     ///< the handler has returned to the restorer, which has not begun
  CTS_STANDS_ON_SPLIT_STACK = 7,  ///< as in a handler; the frame lies in another mapping of the stack
  CTS_STANDS_ON_SHARED_STACK = 8,  ///< as in a handler; the stack is shared memory
  CTS_STANDS_ON_FILES_STACK = 9,  ///< as in a handler; the stack is a file's, mapped privately
  CTS_STANDS_PENDING = 10,      ///< the handler blocks the stop signal, and sleeps once it is pending
};

typedef struct cts_stander cts_stander;

/// Starts one, and waits until a stop will find it at `run` + `offset`; `run` is five nops at the
/// start of a function of no effect. One at a time: it uses SIGUSR1, SIGUSR2 and SIGURG. NULL with
/// errno.
cts_stander *cts_stander_start(int kind, uint64_t run, int offset);
int32_t cts_stander_thread(const cts_stander *stander);
/// Ends the sleep of a CTS_STANDS_PENDING.
void cts_stander_wake(cts_stander *stander);
/// Lets it go on, and waits for its end. Where its handler returned to, or, of CTS_STANDS, 0.
/// `*untouched`: what the handler had on its stack that only looks like its frame is as it was, and
/// nobody has read what lies behind the alternate stack.
uint64_t cts_stander_stop(cts_stander *stander, bool *untouched);

#endif
