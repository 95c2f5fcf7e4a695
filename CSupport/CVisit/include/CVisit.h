// SPDX-License-Identifier: Apache-2.0
//
// How a helper thread gets into a process that runs, and what it does there.
//
// A thread of the process is stopped by ptrace for about a millisecond. It makes raw system calls
// only: it maps memory and starts the helper with clone. So it may be interrupted anywhere, in malloc
// or in the loader too. The helper has a thread control block that was made from outside. It creates
// a true thread by pthread_create and exits; that thread, the visitor, opens the agent, calls one
// function of it, and removes the memory of both (visitor.S).

#ifndef CVISIT_H
#define CVISIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// What the visitor reads and writes: at the start of the data that the visit maps.
typedef struct nvi_block {
  // Filled before the visit. Addresses are the process's.
  uint64_t pthread_create, pthread_detach, dlopen, dlsym, dlerror, munmap;
  uint64_t mapping, mapping_bytes;  ///< unmapped at the end: the code, the helper's stack, this block
  uint64_t argument[4];        ///< for the agent's function
  int64_t descriptor;          ///< closed where the agent's function is not called; -1: none
  // Filled by the visit.
  uint64_t thread;             ///< of the visitor
  uint64_t error_text;         ///< dlerror()'s, where the state is NVI_NO_AGENT or NVI_NO_FUNCTION
  int32_t helper;              ///< its thread id; 0: it has exited
  int32_t created;             ///< pthread_create's result
  int32_t result;              ///< of the agent's function
  uint32_t state;              ///< NVI_*
  uint32_t seen;               ///< set from outside: the block was read, and may be unmapped
  uint32_t reserved;
  char function[64];           ///< of the agent
  char library[512];           ///< path of the agent, as the process sees it
} nvi_block;

enum {
  NVI_WAITS = 0,        ///< the helper, or the visitor, has not come far yet
  NVI_NO_THREAD = 1,    ///< pthread_create has failed: `created`
  NVI_NO_AGENT = 2,     ///< dlopen has failed
  NVI_NO_FUNCTION = 3,  ///< dlsym has failed
  NVI_DONE = 4,         ///< `result`
};

/// The code that runs in the process; it does not depend on its address. It begins with the system
/// call instruction with which the stopped thread makes its clone call.
const void *nvi_code_start(void);
size_t nvi_code_bytes(void);

/// Of its fields.
static inline size_t nvi_offset_of_seen(void) { return offsetof(nvi_block, seen); }

/// A copy of a process's descriptor; negative: minus an errno.
int nvi_take_descriptor(pid_t process, int descriptor);

/// A thread that ptrace has stopped.
typedef struct nvi_stopped nvi_stopped;

/// Stops a thread, at most so long; 0 or an errno: ETIMEDOUT, ESRCH, EPERM. Its signals are blocked
/// from then on. All calls for one thread come from one thread of ours.
int nvi_stop(pid_t thread, uint32_t milliseconds, nvi_stopped **stopped);
/// Where it stands, and its stack pointer and thread pointer.
uint64_t nvi_pc(const nvi_stopped *stopped);
uint64_t nvi_stack_pointer(const nvi_stopped *stopped);
uint64_t nvi_thread_pointer(const nvi_stopped *stopped);
/// Has it make a system call, with the instruction at `at`: 0f 05. 0, with `result`, or an errno if it
/// could not be made (EIO: the thread has ended).
int nvi_call(nvi_stopped *stopped, uint64_t at, uint64_t number, const uint64_t arguments[6],
             int64_t *result);
/// Has it start the helper: with the code at `code`, the memory below `stack`, a thread pointer, and
/// a block. The kernel writes the helper's id to `id` and to the block. As nvi_call.
int nvi_start_helper(nvi_stopped *stopped, uint64_t code, uint64_t stack, uint64_t thread_pointer,
                     uint64_t id, uint64_t block, int64_t *result);
/// Lets it go on where it was. Frees `stopped`.
void nvi_release(nvi_stopped *stopped);

/// Lets threads go that were asked to stop, did not in time, and have now. True: there are more. Until
/// then such a thread runs, but not any more once it has stopped.
bool nvi_leave_late(void);

/// All threads of a process but one, stopped.
typedef struct nvi_world nvi_world;

/// Where a stopped thread stands. `system_call`: in which it is; negative: in none.
typedef struct nvi_place {
  pid_t thread;
  int64_t system_call;
  uint64_t pc, sp, thread_pointer;
} nvi_place;

/// Stops them, at most so long. 0 or an errno, with the thread to blame: ETIMEDOUT; EAGAIN (it waits
/// for a child that runs in its memory, made by vfork). Then none is stopped.
int nvi_world_stop(pid_t process, pid_t except, uint32_t milliseconds, nvi_world **stopped,
                   pid_t *blamed);
uint32_t nvi_world_count(const nvi_world *world);
/// False: this one has ended.
bool nvi_world_thread(const nvi_world *world, uint32_t index, nvi_place *place);
/// It will go on there.
void nvi_world_move(nvi_world *world, uint32_t index, uint64_t pc);
/// Lets all go on. Frees `world`.
void nvi_world_release(nvi_world *world);

#endif
