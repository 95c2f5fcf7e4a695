// SPDX-License-Identifier: Apache-2.0
//
// stop-machine by another process: a tracer (ptrace) stops the threads of this one. So no signal
// handler is needed here, no thread can block the stop, and no sleeper wakes in the middle of it.
//
// The two share a table. This process asks for a stop and waits; the tracer stops every thread but the
// one that asked, and writes down where each stands. This process may change a thread's `pc`. The
// tracer sets the registers of such a thread before it lets all go.

#ifndef NPC_OUTSIDE_H
#define NPC_OUTSIDE_H

#include <stddef.h>
#include <stdint.h>

typedef struct npc_outside_thread {
  int32_t thread;
  uint32_t is_asleep;    ///< it could not be stopped (the parent of a vfork), or has ended
  int64_t system_call;   ///< in which it sleeps; -1: none
  uint64_t pc, sp;
  uint64_t thread_pointer;
} npc_outside_thread;

enum { NPC_OUTSIDE_THREADS = 4096 };

/// What is asked and answered are counts, which only grow: 1 is the first stop, 2 its end, 3 the second
/// stop.
typedef struct npc_outside {
  uint32_t asked;        ///< by this process
  uint32_t answered;     ///< by the tracer, last
  int32_t error;         ///< 0, or why no thread is stopped: an errno
  int32_t thread;        ///< the one to blame; 0: none
  uint32_t asking;       ///< the thread that asks, which is not stopped
  uint32_t count;
  npc_outside_thread threads[NPC_OUTSIDE_THREADS];
} npc_outside;

/// Where in it the threads begin.
static inline size_t npc_outside_threads_offset(void) { return offsetof(npc_outside, threads); }

/// From now on, until it is called with NULL, this thread's stops are made from outside, with this
/// table. Another thread must not stop others meanwhile: the caller holds the patch lock.
void npc_stop_from_outside(npc_outside *table);

#endif
