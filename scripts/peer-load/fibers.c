// SPDX-License-Identifier: Apache-2.0
//
// usage: fibers
//
// Two coroutines (ucontext) hand over to each other, 1,000 times each.

#include <ucontext.h>

static ucontext_t outside, fibers[2];
static char stacks[2][65536];

__attribute__((noinline)) void yield(int self) { swapcontext(&fibers[self], &fibers[!self]); }

__attribute__((noinline)) void step(int self) { yield(self); }

static void body(int self) {
  for (int i = 0; i < 1000; i++) step(self);
}

int main(void) {
  for (int i = 0; i < 2; i++) {
    getcontext(&fibers[i]);
    fibers[i].uc_stack.ss_sp = stacks[i];
    fibers[i].uc_stack.ss_size = sizeof stacks[i];
    fibers[i].uc_link = &outside;
    makecontext(&fibers[i], (void (*)(void))body, 1, i);
  }
  return swapcontext(&outside, &fibers[0]);
}
