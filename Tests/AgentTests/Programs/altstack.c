// SPDX-License-Identifier: Apache-2.0
// Signal handlers on alternate stacks. One stack is in the heap. The other is an array in main's
// own frame, so it lies above the frames that the signal interrupts.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define KEEP __attribute__((noinline, noclone))
static volatile int one = 1;
enum { BYTES = 65536 };

static volatile int sum;
static sigjmp_buf place;

KEEP int leaf(int value) { return value + one; }
KEEP int chain(int value) { return value > 0 ? chain(value - 1) + leaf(value) : leaf(0); }
KEEP void handler(int signal) {
  sum += chain(5);
  if (signal == SIGUSR2) siglongjmp(place, 1);
}
KEEP int interrupted(int level, int signal) {
  if (level == 0) raise(signal);
  else sum += interrupted(level - 1, signal);
  return leaf(level);
}
KEEP void use(void *stack) {
  stack_t alternate = {.ss_sp = stack, .ss_size = BYTES};
  sigaltstack(&alternate, NULL);
  for (int i = 0; i < 20; i++) {
    interrupted(10, SIGUSR1);
    if (sigsetjmp(place, 1) == 0) interrupted(10, SIGUSR2);
  }
}

int main(void) {
  char within[BYTES];
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGUSR2, &action, NULL);
  use(within);
  use(malloc(BYTES));
  printf("sum %d\n", sum);
  printf("calls handler 80\ncalls chain 480\ncalls leaf 920\ncalls interrupted 880\n");
  return 0;
}
