// SPDX-License-Identifier: Apache-2.0
//
// The threads of this process, as /proc/self/task lists and describes them.
//
// Nothing here allocates. Only one caller at a time: it holds the patch lock.

#ifndef NPC_TASK_LIST_H
#define NPC_TASK_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "internal.h"

/// Opens /proc/self/task for the calls below. A descriptor, or -1 with errno.
NPC_HIDDEN int npc_tasks_open(void);

/// Calls `visit` for every thread until it returns something other than 0, which is returned; -1
/// with errno if the list cannot be read.
NPC_HIDDEN int npc_tasks_each(int tasks, int (*visit)(int tasks, int32_t thread, void *context),
                              void *context);

/// Where a thread sleeps.
typedef struct npc_task_sleep {
  int64_t system_call;      // its number
  uint64_t first_argument;
  uint64_t sp;              // 0: unknown
} npc_task_sleep;

/// Whether the thread sleeps in a system call, and where. False for a thread that runs, is blocked
/// outside a system call, has ended, or whose files cannot be read.
NPC_HIDDEN bool npc_task_sleeps(int tasks, int32_t thread, npc_task_sleep *sleep);

/// Whether the thread blocks `signal`: 1, 0, or a negative errno where its files cannot be read. A
/// thread that has ended blocks nothing.
NPC_HIDDEN int npc_task_blocks(int tasks, int32_t thread, int signal);

/// Whether the thread has ended and is still in the list, as a main thread is that has called
/// pthread_exit. False where its files cannot be read.
NPC_HIDDEN bool npc_task_is_zombie(int tasks, int32_t thread);

#endif
