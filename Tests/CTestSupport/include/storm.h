// SPDX-License-Identifier: Apache-2.0
//
// Calls of a fixture's functions from the most difficult places: signal handlers, and children that
// are forked at any moment of what the other threads do.

#ifndef CTS_STORM_H
#define CTS_STORM_H

#include <stddef.h>
#include <stdint.h>

#include "callers.h"

typedef struct cts_storm cts_storm;

/// Starts a thread that signals itself all the time, and a timer that sends SIGPROF for each
/// millisecond of the process's CPU time. The handlers block every signal, run on a stack of their
/// own, and make the calls. Use it in a process of its own. On failure NULL, with errno.
cts_storm *cts_storm_start(const cts_call *calls, size_t count);
/// How often a handler has run.
uint64_t cts_storm_handled(void);
/// Ends it; returns how many results were wrong.
uint64_t cts_storm_stop(cts_storm *storm);

enum {
  CTS_RAW_FORK = 1,  ///< clone(2) without libc: the handlers of pthread_atfork do not run
  CTS_VFORK = 2,
};

typedef struct cts_children cts_children;

/// Starts a thread that forks children all the time. Each child makes the calls and ends.
cts_children *cts_children_start(const cts_call *calls, size_t count, int kind);
uint64_t cts_children_count(const cts_children *children);
/// Ends it; returns how many children failed, found a wrong result, or died.
uint64_t cts_children_stop(cts_children *children);

#endif
