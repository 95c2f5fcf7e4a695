// SPDX-License-Identifier: Apache-2.0
//
// Experiments of the demo that need C: a child process that may crash, and the timing of a call.

#ifndef NUL_EXPERIMENTS_H
#define NUL_EXPERIMENTS_H

#include <stdbool.h>
#include <stdint.h>

enum {
  NUL_SMP_UNSTOPPED = 0,  ///< 4-byte cmpxchg and a fifth byte under the running thread
  NUL_SMP_STOPPED = 1,    ///< the same between npc_stop_threads and npc_resume_threads
};

typedef struct nul_smp_result {
  uint64_t flips;                ///< patches done: call -> nop or nop -> call
  uint64_t calls;                ///< of the function, completed by the other thread
  uint64_t nanoseconds;          ///< from the first flip until the child ended
  int32_t signal;                ///< that killed the child; 0: it survived
  int32_t error;                 ///< errno of the set-up in the parent or in the child
  int32_t result;                ///< NUL_PATCH_* of a flip that failed, else 0
  bool timed_out;                ///< the child did not end in time and was killed
} nul_smp_result;

/// Forks a child in which one thread calls `function` in a loop. For `milliseconds`, another thread
/// changes the call site `ip` inside it from its `call` (which must be there now: EINVAL) to the
/// nop and back. The child opens its own copy of the text. True if the experiment could run.
bool nul_smp_experiment(void (*function)(void), uint64_t ip, int32_t mode, uint32_t milliseconds,
                        nul_smp_result *result);

/// Nanoseconds of `count` calls of `function`.
uint64_t nul_time_calls(void (*function)(void), uint64_t count);

#endif
