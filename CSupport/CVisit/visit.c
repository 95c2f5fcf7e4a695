// SPDX-License-Identifier: Apache-2.0
//
// Stops one thread of another process and has it make system calls.
//
// The thread may be asleep in a system call of its own. When it is let go its registers are what they
// were, at a stop in which the kernel looks for signals: there the kernel begins the interrupted call
// again, as it does for a signal that has no handler.

#define _GNU_SOURCE
#include "CVisit.h"
#include "tracing.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <sys/user.h>

#define BLOCK_FIELD(field, offset) \
  _Static_assert(offsetof(nvi_block, field) == (offset), "as visitor.S has it")
BLOCK_FIELD(munmap, 40);
BLOCK_FIELD(mapping, 48);
BLOCK_FIELD(argument, 64);
BLOCK_FIELD(descriptor, 96);
BLOCK_FIELD(thread, 104);
BLOCK_FIELD(helper, 120);
BLOCK_FIELD(state, 132);
BLOCK_FIELD(seen, 136);
BLOCK_FIELD(function, 144);
BLOCK_FIELD(library, 208);

extern const uint8_t nvi_code[], nvi_code_end[] __attribute__((visibility("hidden")));
const void *nvi_code_start(void) { return nvi_code; }
size_t nvi_code_bytes(void) { return (size_t)(nvi_code_end - nvi_code); }

int nvi_take_descriptor(pid_t process, int descriptor) {
  int number = (int)syscall(SYS_pidfd_open, process, 0);
  if (number < 0) return -errno;
  int taken = (int)syscall(SYS_pidfd_getfd, number, descriptor, 0);
  int error = errno;
  close(number);
  return taken < 0 ? -error : taken;
}

struct nvi_stopped {
  pid_t thread;
  uint64_t deadline;   // for all that is done with it
  uint64_t mask;       // its signals, before
  struct user_regs_struct before, now;
};

// A thread must get its registers back, however seldom a busy machine lets it run.
enum { CALLS_MILLISECONDS = 30000 };

int nvi_stop(pid_t thread, uint32_t milliseconds, nvi_stopped **result) {
  nvi_stopped *stopped = calloc(1, sizeof *stopped);
  if (stopped == NULL) return ENOMEM;
  stopped->thread = thread;
  // TRACESYSGOOD: stops at system calls are told from SIGTRAP.
  int error = ptrace(PTRACE_SEIZE, thread, 0, PTRACE_O_TRACESYSGOOD) == 0 ? 0 : errno;
  if (error == 0) {
    const uint64_t all = ~(uint64_t)0;
    error = nvi_interrupt(thread, false, nvi_now() + (uint64_t)milliseconds * 1000000);
    bool is_stopped = error == 0;
    if (error == 0) error = nvi_get_registers(thread, &stopped->before);
    if (error == 0 && ptrace(PTRACE_GETSIGMASK, thread, 8, &stopped->mask) != 0) error = errno;
    if (error == 0 && ptrace(PTRACE_SETSIGMASK, thread, 8, &all) != 0) error = errno;
    if (error != 0 && is_stopped) ptrace(PTRACE_DETACH, thread, 0, 0);
    else if (error != 0) nvi_leave(thread);
  }
  if (error != 0) {
    free(stopped);
    return error;
  }
  stopped->now = stopped->before;
  stopped->deadline = nvi_now() + (uint64_t)CALLS_MILLISECONDS * 1000000;
  *result = stopped;
  return 0;
}

uint64_t nvi_pc(const nvi_stopped *stopped) { return stopped->before.rip; }
uint64_t nvi_stack_pointer(const nvi_stopped *stopped) { return stopped->before.rsp; }
uint64_t nvi_thread_pointer(const nvi_stopped *stopped) { return stopped->before.fs_base; }

// Goes on to the next stop at a system call's beginning or end.
static int to_call(nvi_stopped *stopped) {
  int status, error = ptrace(PTRACE_SYSCALL, stopped->thread, 0, 0) == 0 ? 0 : errno;
  if (error == 0) error = nvi_next_stop(stopped->thread, stopped->deadline, &status);
  if (error != 0) return error;
  return WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : EIO;
}

int nvi_call(nvi_stopped *stopped, uint64_t at, uint64_t number, const uint64_t arguments[6],
             int64_t *result) {
  struct user_regs_struct registers = stopped->now;
  registers.rip = at;
  registers.rax = number;
  registers.orig_rax = ~0ull;  // the call that was interrupted is not begun again yet
  registers.rdi = arguments[0], registers.rsi = arguments[1], registers.rdx = arguments[2];
  registers.r10 = arguments[3], registers.r8 = arguments[4], registers.r9 = arguments[5];
  int error = nvi_set_registers(stopped->thread, &registers);
  if (error == 0) error = to_call(stopped);
  if (error == 0) error = to_call(stopped);
  if (error == 0) error = nvi_get_registers(stopped->thread, &registers);
  if (error == 0) *result = (int64_t)registers.rax;
  return error;
}

int nvi_start_helper(nvi_stopped *stopped, uint64_t code, uint64_t stack, uint64_t thread_pointer,
                     uint64_t id, uint64_t block, int64_t *result) {
  const uint64_t flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                         CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID |
                         CLONE_CHILD_CLEARTID;
  const uint64_t arguments[6] = {flags, stack, id, block + offsetof(nvi_block, helper),
                                 thread_pointer};
  stopped->now.rbx = block;
  return nvi_call(stopped, code, SYS_clone, arguments, result);
}

void nvi_release(nvi_stopped *stopped) {
  // To a stop where the kernel looks for signals, without a step in the program's code.
  nvi_interrupt(stopped->thread, true, nvi_now() + (uint64_t)CALLS_MILLISECONDS * 1000000);
  struct user_regs_struct registers = stopped->before;
  nvi_begin_call_again(&registers);
  nvi_set_registers(stopped->thread, &registers);
  ptrace(PTRACE_SETSIGMASK, stopped->thread, 8, &stopped->mask);
  ptrace(PTRACE_DETACH, stopped->thread, 0, 0);
  free(stopped);
}
