// SPDX-License-Identifier: Apache-2.0
// confined HOW: forbids itself system calls and goes on computing.
//
//   filter   the process is killed at any call but the few that it makes
//   early    the same, before its first traced call
//   threads  the same for all of its threads, which run already, and for those that it starts then
//   forks    the same, with children that make their first traced call then
//   deep     the same, with a recursion then
//   error    any other call is an error
//   strict   strict mode
//   clock    the time stamp counter is forbidden in one of its threads
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLAIN __attribute__((no_instrument_function))
enum { BEFORE = 100, AFTER = 200000, THREADS = 3, CHILDREN = 5, DEPTH = 5000 };

__attribute__((noinline)) int before(int value) {
  __asm__ volatile("");
  return value + 1;
}
__attribute__((noinline)) int after(int value) {
  __asm__ volatile("");
  return value + 2;
}
__attribute__((noinline)) int nested(int depth) {
  int sum = depth == 0 ? 0 : nested(depth - 1);
  __asm__ volatile("");
  return sum + 1;
}

static volatile int go;

PLAIN static void say(const char *text) {
  size_t length = strlen(text);
  if (write(1, text, length) != (ssize_t)length) _exit(9);
}

// Lets only these calls through. `otherwise`: SECCOMP_RET_*.
PLAIN static int install(unsigned otherwise, int also_threads, unsigned flags) {
  static const unsigned few[] = {SYS_write, SYS_exit, SYS_exit_group, SYS_rt_sigreturn};
  // What starting a thread or a child, and waiting for it, takes.
  static const unsigned more[] = {SYS_clone, SYS_clone3, SYS_mmap, SYS_mprotect, SYS_munmap,
                                  SYS_madvise, SYS_futex, SYS_set_robust_list, SYS_rseq,
                                  SYS_rt_sigprocmask, SYS_wait4, SYS_gettid};
  struct sock_filter code[64] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
  };
  unsigned short length = 1;
  for (unsigned i = 0; i < sizeof few / sizeof few[0]; i++) {
    code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, few[i], 0, 1);
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  for (unsigned i = 0; also_threads && i < sizeof more / sizeof more[0]; i++) {
    code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, more[i], 0, 1);
    code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise);
  struct sock_fprog program = {length, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return flags != 0 ? (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program)
                    : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

PLAIN static void *run(void *unused) {
  while (!go) {
  }
  for (int i = 0; i < AFTER; i++) after(i);
  return unused;
}

PLAIN static void *without_clock(void *unused) {
  before(0);
  if (prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0) != 0) return NULL;
  for (int i = 0; i < AFTER; i++) after(i);
  prctl(PR_SET_TSC, PR_TSC_ENABLE, 0, 0, 0);
  return unused;
}

PLAIN static int with_threads(void) {
  pthread_t threads[2 * THREADS];
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, run, NULL);
  if (install(SECCOMP_RET_KILL_PROCESS, 1, SECCOMP_FILTER_FLAG_TSYNC) != 0) return 8;
  for (int i = THREADS; i < 2 * THREADS; i++) pthread_create(&threads[i], NULL, run, NULL);
  go = 1;
  for (int i = 0; i < 2 * THREADS; i++) pthread_join(threads[i], NULL);
  say("calls after 1200000\n");
  return 3;
}

PLAIN static int with_children(void) {
  if (install(SECCOMP_RET_KILL_PROCESS, 1, 0) != 0) return 8;
  int bad = 0, status;
  for (int i = 0; i < CHILDREN; i++) {
    pid_t child = fork();
    if (child == 0) {
      for (int k = 0; k < AFTER; k++) after(k);
      _exit(0);
    }
    bad += waitpid(child, &status, 0) != child || status != 0;
  }
  say("calls after 1000000\n");
  return bad ? 7 : 3;
}

PLAIN int main(int count, char **arguments) {
  const char *how = count > 1 ? arguments[1] : "";
  if (strcmp(how, "early") != 0)
    for (int i = 0; i < BEFORE; i++) before(i);
  if (strcmp(how, "threads") == 0) _exit(with_threads());
  if (strcmp(how, "forks") == 0) _exit(with_children());
  if (strcmp(how, "clock") == 0) {
    pthread_t thread;
    pthread_create(&thread, NULL, without_clock, NULL);
    pthread_join(thread, NULL);
    for (int i = 0; i < BEFORE; i++) before(i);
    say("calls before 201\n");
    return 3;
  }
  if (strcmp(how, "strict") == 0) {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) != 0) return 8;
  } else {
    unsigned otherwise = strcmp(how, "error") ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM;
    if (install(otherwise, 0, 0) != 0) return 8;
  }
  if (strcmp(how, "deep") == 0) {
    nested(DEPTH - 1);
    say("calls nested 5000\n");
  }
  for (int i = 0; i < AFTER; i++) after(i);
  if (strcmp(how, "strict") == 0) {
    say("calls before 100\n");
    syscall(SYS_exit, 3);
  }
  say("calls after 200000\n");
  _exit(3);
}
