// SPDX-License-Identifier: Apache-2.0
//
// stop-machine for one process: every other thread is stopped, or left asleep in a system call. The
// head of stop.c gives the steps.

#ifndef NPC_STOP_H
#define NPC_STOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NPC_STOP_MAX_THREADS = 4096 };

typedef struct npc_code_range { uint64_t start, end; } npc_code_range;

typedef struct npc_stop_request {
  /// How long to wait for all, in milliseconds; 0: 1000.
  uint32_t timeout_milliseconds;
  /// Also signal threads that sleep in a system call (poll, epoll_wait and nanosleep then return
  /// EINTR). False: they are left asleep, and the caller's writes must be safe for one that wakes.
  bool wake_sleepers;
} npc_stop_request;

typedef struct npc_stop_report {
  uint32_t stopped;    ///< threads parked by the signal
  uint32_t asleep;     ///< threads left asleep in a system call
  uint32_t woken;      ///< new or awake threads that the last pass found and stopped
  int32_t thread;      ///< on failure: the thread that did not stop; 0: none is to blame
  /// 0; ETIMEDOUT; EAGAIN (with `thread`: the queue of signals stayed full; without: more threads
  /// than NPC_STOP_MAX_THREADS); or the errno of /proc.
  int32_t error;
} npc_stop_report;

/// Set-up. Installs the stop signal's handler on the highest real-time signal that has none, and
/// registers this process for npc_sync_cores. 0 or an errno; EAGAIN: every real-time signal has a
/// handler.
int npc_stop_prepare(void);

/// Stops every other thread of this process, except those that it leaves asleep (`wake_sleepers`).
/// True on success; otherwise no thread is left stopped. Not reentrant: the caller holds the patch
/// lock.
bool npc_stop_threads(const npc_stop_request *request, npc_stop_report *report);

/// Where a stopped thread stands.
typedef struct npc_stopped {
  int32_t thread;
  uint64_t *pc;  ///< where its PC is stored, in the context that it returns to; NULL: it sleeps
  uint64_t sp;
  uint64_t thread_pointer;  ///< 0: it is not known, since it was not stopped from outside
} npc_stopped;

/// While stopped: whether a thread is inside one of these pieces of code, or will come back there from
/// a signal's handler. True also where it cannot be known.
bool npc_stop_finds_inside(const struct npc_code_range *ranges, size_t count);
/// While stopped: calls `visit` for every thread until it returns false.
void npc_stop_each(bool (*visit)(const npc_stopped *thread, void *context), void *context);

/// Releases the stopped threads. Each executes a serialising instruction before it returns to its
/// code. Sleepers do not: they were never stopped.
void npc_resume_threads(void);

/// membarrier(PRIVATE_EXPEDITED_SYNC_CORE): every thread of this process executes a serialising
/// instruction before it runs user code again. 0 or an errno.
int npc_sync_cores(void);

#endif
