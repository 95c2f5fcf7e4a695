// SPDX-License-Identifier: Apache-2.0
//
// Threads in known states.

#ifndef CTS_THREADS_H
#define CTS_THREADS_H

#include <stdbool.h>
#include <stdint.h>

#include "poke.h"

enum {
  CTS_SPINS_BLOCKING = 1,    ///< runs, with every signal blocked
  CTS_SPINS = 2,         ///< runs
  CTS_POLLS = 3,         ///< sleeps in poll
  CTS_NAPS = 4,          ///< sleeps in nanosleep
  CTS_WAITS = 5,         ///< sleeps in epoll_wait
  CTS_SLEEPS_BLOCKING = 6,   ///< sleeps in poll, with every signal blocked
  CTS_SLEEPS_WITHOUT_TRAP = 7,  ///< sleeps in poll, with SIGTRAP blocked
  CTS_VFORKS = 8,        ///< inside vfork: its child lives until the thread is stopped
  CTS_CHURNS = 9,        ///< creates threads that end, all the time
  CTS_VFORKS_BRIEFLY = 10,  ///< inside vfork: its child ends by itself after 100 ms
  CTS_SPAWNS = 11,       ///< starts /bin/true over and over, by posix_spawn
  CTS_SLEEPS_THEN_SPINS = 12,  ///< sleeps in poll until woken, then runs; with every signal blocked
};

typedef struct cts_thread cts_thread;

/// Starts one and waits until it is in its state. NULL with errno.
cts_thread *cts_thread_start(int kind);
int32_t cts_thread_id(const cts_thread *thread);
/// Waits until the thread whose id will be stored to `*thread` sleeps in system call `number`.
void cts_wait_until_asleep(const _Atomic int32_t *thread, long number);
/// The id of the calling thread.
int32_t cts_this_thread(void);
/// How often its sleep was interrupted before it was stopped, or how many threads it made.
uint64_t cts_thread_count(const cts_thread *thread);
/// Makes a CTS_SPINS_BLOCKING thread unblock its signals, and waits until it has done so.
void cts_thread_unblock(cts_thread *thread);
/// Ends it and frees it; returns its last count.
uint64_t cts_thread_stop(cts_thread *thread);

/// Runs `body` in a forked child for `seconds` at most. Its exit status; 1000 + signal where one
/// killed it; -1 where it cannot be forked.
int cts_run_forked(int (*body)(void *), void *context, int seconds);

/// Whether a thread of a forked child stops the others when the child's main thread has ended, as by
/// pthread_exit: it stays in the list of threads until the process ends.
bool cts_stops_beside_an_ended_main(void);

/// Stops the threads within a moment, and wakes `sleeper`, a thread that then runs with the stop
/// signal blocked, when the moment is over, as at the end of a long search of the stacks. Whether
/// the look for threads that woke fails, with ETIMEDOUT; `*named` is the thread that it names.
bool cts_settles_too_late(cts_thread *sleeper, int32_t *named);

typedef struct cts_forker cts_forker;
/// Starts a thread that forks over and over. Each child takes the patch lock, lists the modules and
/// executes both transactions, one after the other, within a minute.
cts_forker *cts_forker_start(const npc_transaction *there, const npc_transaction *back);
/// How many children there were so far.
uint64_t cts_forker_count(const cts_forker *forker);
/// Ends it; returns how many children failed, and how many there were.
uint64_t cts_forker_stop(cts_forker *forker, uint64_t *children);

#endif
