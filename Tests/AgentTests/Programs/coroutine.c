// SPDX-License-Identifier: Apache-2.0
// Two coroutines whose stacks are arrays in main's own frame, as in makecontext's manual page. So
// both stacks lie inside the thread's stack, one above the other.
#include <stdio.h>
#include <ucontext.h>

static ucontext_t whole, first, second;
static volatile int sum;

#define KEEP __attribute__((noinline, noclone))
static volatile int one = 1;

KEEP int leaf(int value) { return value + one; }
KEEP void step(ucontext_t *from, ucontext_t *to, int value) {
  sum += leaf(value);
  swapcontext(from, to);
  sum += leaf(value);
}
KEEP int middle(ucontext_t *from, ucontext_t *to, int value) {
  step(from, to, value);
  return leaf(value);
}
KEEP void run_first(void) {
  for (int i = 0; i < 100; i++) sum += middle(&first, &second, i);
}
KEEP void run_second(void) {
  for (int i = 0; i < 100; i++) sum += middle(&second, &first, i);
}

int main(void) {
  char lower[32768], upper[32768];
  for (int turn = 0; turn < 2; turn++) {
    getcontext(&first);
    first.uc_stack.ss_sp = turn ? upper : lower;
    first.uc_stack.ss_size = sizeof lower;
    first.uc_link = &whole;
    makecontext(&first, run_first, 0);
    getcontext(&second);
    second.uc_stack.ss_sp = turn ? lower : upper;
    second.uc_stack.ss_size = sizeof upper;
    second.uc_link = &whole;
    makecontext(&second, run_second, 0);
    swapcontext(&whole, &first);
    swapcontext(&whole, &second);
  }
  printf("sum %d\n", sum);
  printf("calls leaf 1200\ncalls step 400\ncalls middle 400\n");
  return 0;
}
