// SPDX-License-Identifier: Apache-2.0
//
// clone(CLONE_VM) without CLONE_SETTLS: another process in the same memory at the same time, with
// its parent's thread-local storage. Both call traced functions.

#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#define NO __attribute__((noinline))

enum { TURNS = 300000, STACK_BYTES = 1 << 20 };

static volatile long mine, yours;

NO long inner(volatile long *sum) { return ++*sum; }
NO long outer(volatile long *sum) { return inner(sum) + 1; }

NO static int child(void *unused) {
  (void)unused;
  for (int i = 0; i < TURNS; i++)
    if (outer(&yours) != yours + 1) return 2;
  return 0;
}

int main(void) {
  char *stack = malloc(STACK_BYTES);
  int flags = CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD, status = -1;
  pid_t pid = clone(child, stack + STACK_BYTES, flags, NULL);
  for (int i = 0; i < TURNS; i++)
    if (outer(&mine) != mine + 1) return 2;
  waitpid(pid, &status, 0);
  printf("%ld %ld, child %#x\n", mine, yours, (unsigned)status);
  return status != 0;
}
