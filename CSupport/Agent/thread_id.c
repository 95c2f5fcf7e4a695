// SPDX-License-Identifier: Apache-2.0
//
// A thread's id as libc keeps it, which costs no system call. The kernel writes it there when a
// thread starts, and in a child that libc's fork makes. In a child that was forked without libc it
// is the forking thread's.

#include "agent.h"
#include "syscalls.h"

static int64_t id_offset;             // from the thread pointer; 0: it was not found
static int32_t stale_id, id_instead;  // what is kept for this process's first thread, and its own

static int32_t kept_id(void) {
  int32_t id;
  if (id_offset == 0) return 0;
  __asm__("movl %%fs:(%1), %0" : "=r"(id) : "r"(id_offset));
  return id;
}

void nag_thread_id_prepare(void) {
  int32_t id = nag_thread_id();
  for (id_offset = 0x200; id_offset < 0x600; id_offset += 4)
    if (kept_id() == id) return;
  id_offset = 0;
}

int32_t nag_thread_id_after_fork(void) {
  int32_t kept = kept_id();
  bool is_doubtful =
      kept == 0 || kept == nag_self.thread || kept == nag_config.joined || kept == stale_id;
  if (!is_doubtful) return kept;
  stale_id = kept;
  return id_instead = nag_is_confined ? -1 : nag_thread_id();
}

int32_t nag_own_thread_id(void) {
  int32_t kept = kept_id();
  if (kept != 0) return kept == stale_id ? id_instead : kept;
  return nag_is_confined ? -1 : nag_thread_id();
}
