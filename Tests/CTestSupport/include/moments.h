// SPDX-License-Identifier: Apache-2.0
//
// Threads that park by themselves at a chosen moment of a stop: they had the stop signal pending
// while they slept. The moment is a system call of the patcher's, which a seccomp filter turns into
// a SIGSYS of the patcher's own thread; its handler lets the thread go on, waits until it has
// parked, and does what the call would have done.

#ifndef CTS_MOMENTS_H
#define CTS_MOMENTS_H

#include <stdbool.h>

#include "standers.h"

enum {
  /// The patcher has seen the thread asleep with the stop signal blocked, and has not noted it yet.
  CTS_PARKS_AT_LOOK = 1,
  /// That is noted. The thread has woken since, and the patcher has just seen it run.
  CTS_PARKS_AT_SETTLE = 2,
};

/// Stops the threads, one of which parks at `moment`: whether they stopped within some seconds, and
/// it came to that.
bool cts_stops_while_one_parks(int moment);

/// From now on this thread's queries by sigaction are counted while `stander` (CTS_STANDS_PENDING)
/// sleeps. At query number `count` it is woken, returns to its place and parks there.
bool cts_wake_at_query(cts_stander *stander, int count);
/// Whether it came to that.
bool cts_query_has_woken(void);

#endif
