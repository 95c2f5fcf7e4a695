// SPDX-License-Identifier: Apache-2.0
//
// A program that installs a system call filter may forbid calls that the agent makes. The agent
// notices the filter just before (interposed.c), and tries its own calls on it (filter_program.c).
// If one of those is not let through that traced calls, threads or forks need, it allocates what it
// may need later, and from then on makes no system call there:
//
//   memory                  comes from pools that are mapped now (confinement.c)
//   hooked returns          their slots and trampolines are mapped now, for so many threads
//   signals                 are not blocked: see nag_hold
//   the recorder            looks by itself, instead of being woken
//   waiting                 is a loop
//   memory of other stacks  is not tried: its frames count as live
//
// If reading memory needs one that would end the program, what arguments point to is not recorded.
// If patching needs a call that would end the program, libraries that it loads later are not traced.
// A refusal that is only an error is met when it comes.
//
// A filter that was there at the program's start is not noticed. It let the agent in, and is the
// machine's, not the program's.

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include "agent.h"
#include "syscalls.h"

// The thread that installs the filter may be the first that is recorded: what belongs to it is made
// now, too.
static void confine(void) {
  if (nag_is_confined) return;
  uint64_t signals = nag_block_signals();
  bool is_recorded = nag_thread_buffer() != NULL;
  if (is_recorded) {
    nag_shadow_reserve();
    nag_arena_be_polled();
  }
  nag_restore_signals(signals);
  if (is_recorded) nag_confine();
}

typedef struct call {
  int number;
  uint64_t arguments[6];
} call;

// What traced calls, forks, threads and their ends need.
static const call always[] = {
  {SYS_rt_sigprocmask, {2, 1, 1, 8}},
  {SYS_futex, {1, FUTEX_WAIT}}, {SYS_futex, {1, FUTEX_WAKE, INT32_MAX}},
  {SYS_futex, {1, FUTEX_WAIT | FUTEX_PRIVATE_FLAG}},
  {SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, ~0ull}},
  {SYS_munmap, {4096, 4096}}, {SYS_mprotect, {4096, 4096, PROT_READ | PROT_EXEC}},
  {SYS_madvise, {4096, 4096, 18}}, {SYS_prctl, {PR_GET_NAME, 1}}, {SYS_gettid, {0}},
  {SYS_getpid, {0}}, {SYS_sigaltstack, {0, 1}}, {SYS_open, {1}}, {SYS_read, {3, 1, 1024}},
  {SYS_close, {3}},
};

// What patching needs besides.
static const call patching[] = {
  {SYS_mprotect, {4096, 4096, PROT_READ | PROT_WRITE}},
  {SYS_mprotect, {4096, 4096, PROT_READ | PROT_WRITE | PROT_EXEC}},
  {SYS_membarrier, {0}}, {SYS_openat, {~99ull, 1}}, {SYS_process_vm_readv, {1}},
  {SYS_mremap, {4096, 4096, 4096}}, {SYS_rt_tgsigqueueinfo, {1}}, {SYS_tgkill, {1}},
  {SYS_getdents64, {3}}, {SYS_readlink, {1}},
};

// What reading arguments needs (values.c).
static const call reading = {SYS_process_vm_readv, {1, 1, 1, 1, 1}};

static uint32_t try(const struct sock_filter *code, uint32_t count, const call *one) {
  struct seccomp_data data = {.nr = one->number, .arch = AUDIT_ARCH_X86_64,
                              .instruction_pointer = (uint64_t)&confine};
  for (int i = 0; i < 6; i++) data.args[i] = one->arguments[i];
  return nag_filter_action(code, count, &data);
}

static bool is_deadly(uint32_t action) {
  return action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG && action != SECCOMP_RET_ERRNO;
}

static void judge(const struct sock_filter *code, uint32_t count) {
  bool is_narrow = false, forbids_patching = false;
  for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
    uint32_t action = try(code, count, &always[i]);
    is_narrow |= action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG;
    forbids_patching |= is_deadly(action);
  }
  for (size_t i = 0; i < sizeof patching / sizeof patching[0]; i++)
    forbids_patching |= is_deadly(try(code, count, &patching[i]));
  if (is_deadly(try(code, count, &reading))) nag_config.forbids_reading = true;
  if (is_narrow) confine();
  if (forbids_patching) {
    nag_config.forbids_patching = true;
    nag_mark(NREC_FLAG_CONFINED);
  }
}

// `filter`: the program's struct sock_fprog; its pointers may be wrong. NULL: everything is forbidden.
static void before_filter(const void *filter) {
  static const struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  struct sock_fprog given;
  if (nag_process_state == NULL || nag_process_state->header == NULL) return;
  if (filter == NULL) return judge(&nothing, 1);
  if (!npc_read_memory(&given, filter, sizeof given)) return;
  size_t bytes = given.len * sizeof *given.filter;
  struct sock_filter *copy = bytes == 0 ? NULL : nag_pages(bytes);
  if (copy == NULL) return;
  if (npc_read_memory(copy, given.filter, bytes)) judge(copy, given.len);
  nag_unmap(copy, bytes);
}

// From now on the thread may not read the time stamp counter: the kernel ends a program that does.
static void give_up_clock(void) {
  uint32_t kind = nag_config.tracer == NULL ? 0 : nag_config.tracer->chunk_kind;
  if (kind == NREC_CHUNK_EVENTS || kind == NREC_CHUNK_PROFILE) nag_thread_leave(NREC_FLAG_NO_CLOCK);
  nag_self.has_no_clock = true;
}

// What the program is about to do to itself by prctl(2) or seccomp(2). See interposed_syscall.S.
void nag_before_syscall(uint64_t number, uint64_t operation, uint64_t second, uint64_t third) {
  bool is_prctl = number == SYS_prctl;
  bool is_strict = is_prctl ? operation == PR_SET_SECCOMP && second == SECCOMP_MODE_STRICT
                            : operation == SECCOMP_SET_MODE_STRICT;
  bool is_filter = is_prctl ? operation == PR_SET_SECCOMP && second == SECCOMP_MODE_FILTER
                            : operation == SECCOMP_SET_MODE_FILTER;
  if (is_strict) before_filter(NULL);
  // Both calls have the program as their third argument.
  if (is_filter) before_filter((const void *)third);
  if (is_strict || (is_prctl && operation == PR_SET_TSC && second == PR_TSC_SIGSEGV))
    give_up_clock();
}
