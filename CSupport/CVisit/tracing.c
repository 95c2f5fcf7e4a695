// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include "tracing.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

enum { ERESTARTNOHAND = 514 };  // linux/errno.h
enum { PAUSE_NANOSECONDS = 20000, PATIENCE_NANOSECONDS = 20000000 };

uint64_t nvi_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

int nvi_next_stop(pid_t thread, uint64_t deadline, int *status) {
  const struct timespec pause = {0, PAUSE_NANOSECONDS};
  for (;;) {
    pid_t got = waitpid(thread, status, __WALL | WNOHANG);
    if (got == thread) return WIFSTOPPED(*status) ? 0 : ESRCH;
    if (got < 0 && errno != EINTR) return errno;
    if (nvi_now() > deadline) return ETIMEDOUT;
    nanosleep(&pause, NULL);
  }
}

static bool is_event(int status) { return status >> 16 == PTRACE_EVENT_STOP; }

int nvi_interrupt(pid_t thread, bool is_stopped, uint64_t deadline) {
  if (ptrace(PTRACE_INTERRUPT, thread, 0, 0) != 0) return errno;
  // ESRCH: it runs, since what it was to do has taken too long; the stop comes all the same.
  if (is_stopped && ptrace(PTRACE_CONT, thread, 0, 0) != 0 && errno != ESRCH) return errno;
  return nvi_interrupted(thread, deadline);
}

int nvi_interrupted(pid_t thread, uint64_t deadline) {
  for (;;) {
    int status, error = nvi_next_stop(thread, deadline, &status);
    if (error != 0) return error;
    if (is_event(status)) return 0;
    uint64_t signal = WSTOPSIG(status) & 0x80 ? 0 : (uint64_t)WSTOPSIG(status);
    if (ptrace(PTRACE_CONT, thread, 0, signal) != 0) return errno;
  }
}

int nvi_set_registers(pid_t thread, struct user_regs_struct *registers) {
  struct iovec all = {registers, sizeof *registers};
  return ptrace(PTRACE_SETREGSET, thread, NT_PRSTATUS, &all) == 0 ? 0 : errno;
}

int nvi_get_registers(pid_t thread, struct user_regs_struct *registers) {
  struct iovec all = {registers, sizeof *registers};
  return ptrace(PTRACE_GETREGSET, thread, NT_PRSTATUS, &all) == 0 ? 0 : errno;
}

void nvi_begin_call_again(struct user_regs_struct *registers) {
  bool was_in_call = (int64_t)registers->orig_rax >= 0;
  if (was_in_call && (int64_t)registers->rax == -EINTR) registers->rax = (uint64_t)-ERESTARTNOHAND;
}

// Threads that did not stop in time: the stop that was asked for comes sooner or later.
enum { MOST_LATE = 256 };
static pid_t late[MOST_LATE];
static uint32_t late_count;

static bool leave(pid_t thread, uint64_t patience) {
  int error = nvi_interrupted(thread, nvi_now() + patience);
  if (error == 0) {
    struct user_regs_struct registers;
    if (nvi_get_registers(thread, &registers) == 0) {
      nvi_begin_call_again(&registers);
      nvi_set_registers(thread, &registers);
    }
    ptrace(PTRACE_DETACH, thread, 0, 0);
  }
  return error != ETIMEDOUT;
}

void nvi_leave(pid_t thread) {
  if (!leave(thread, PATIENCE_NANOSECONDS) && late_count < MOST_LATE) late[late_count++] = thread;
}

bool nvi_leave_late(void) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < late_count; i++)
    if (!leave(late[i], 0)) late[kept++] = late[i];
  late_count = kept;
  return kept > 0;
}
