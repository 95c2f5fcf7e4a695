// SPDX-License-Identifier: Apache-2.0
// A coroutine on an array in main's frame that is entered and left by longjmp: what longjmp seems to
// end goes on.
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <ucontext.h>

#define KEEP __attribute__((noinline, noclone))
static jmp_buf home, other;
static ucontext_t first, back;
static volatile int sum, turns;

KEEP int leaf(int value) {
  __asm__ volatile("");
  return value + 1;
}
KEEP void body(void) {
  if (_setjmp(other) == 0) swapcontext(&first, &back);
  for (;;) {
    sum += leaf(1);
    if (_setjmp(other) == 0) _longjmp(home, 1);
  }
}
KEEP void enter(int depth) {
  if (depth > 0) {
    enter(depth - 1);
    sum += leaf(depth);
    return;
  }
  turns++;
  if (_setjmp(home) == 0) _longjmp(other, 1);
  sum += leaf(2);
}
KEEP void child(void) { execl("/bin/true", "true", (char *)0); }
KEEP int start(void) {
  pid_t id = vfork();
  if (id == 0) {
    child();
    _exit(1);
  }
  int status = 1;
  waitpid(id, &status, 0);
  return leaf(status);
}

int main(void) {
  char memory[65536];
  getcontext(&first);
  first.uc_stack.ss_sp = memory;
  first.uc_stack.ss_size = sizeof memory;
  makecontext(&first, body, 0);
  swapcontext(&back, &first);
  for (int i = 0; i < 100; i++) enter(i % 5);
  for (int i = 0; i < 10; i++) sum += start();
  printf("sum %d\ncalls enter 300\ncalls leaf 410\ncalls body 1\ncalls start 10\ncalls child 10\n", sum);
  return 0;
}
