// SPDX-License-Identifier: Apache-2.0
//
// A thread's first traced call is on a fiber's stack. The fiber is given up while it is suspended,
// and its stack is unmapped. The next fiber's stack was beside it, in one mapping.

#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

#define NO __attribute__((noinline))
#define PLAIN __attribute__((noinline, no_instrument_function))

enum { STACK_BYTES = 256 << 10 };

static ucontext_t own, one, two;
static volatile int steps;

NO void waits(void) {
  steps++;
  swapcontext(&one, &own);
}
NO void first(void) { waits(); }
NO void work(void) { steps++; }
NO void second(void) {
  for (int i = 0; i < 10; i++) work();
}

PLAIN static void make(ucontext_t *fiber, char *stack, void (*function)(void)) {
  getcontext(fiber);
  fiber->uc_stack.ss_sp = stack;
  fiber->uc_stack.ss_size = STACK_BYTES;
  fiber->uc_link = &own;
  makecontext(fiber, function, 0);
}

PLAIN static void *run(void *unused) {
  char *low = mmap(NULL, 2 * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *high = low + STACK_BYTES;
  make(&one, high, first);
  make(&two, low, second);
  swapcontext(&own, &one);
  munmap(high, STACK_BYTES);
  swapcontext(&own, &two);
  return unused;
}

PLAIN int main(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, run, NULL);
  pthread_join(thread, NULL);
  printf("%d steps\ncalls waits 1\ncalls work 10\n", steps);
  return 0;
}
