// SPDX-License-Identifier: Apache-2.0
// A coroutine that is never resumed in the middle of its calls. Its stack is unmapped.
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

#define KEEP __attribute__((noinline, noclone))
static volatile int one = 1;
enum { BYTES = 65536 };

static ucontext_t whole, side;
static volatile int sum;

KEEP int leaf(int value) { return value + one; }
KEEP void inner(void) { sum += leaf(1); swapcontext(&side, &whole); }
KEEP void outer(void) { inner(); }

int main(void) {
  for (int i = 0; i < 50; i++) {
    void *stack = mmap(0, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    getcontext(&side);
    side.uc_stack.ss_sp = stack;
    side.uc_stack.ss_size = BYTES;
    side.uc_link = &whole;
    makecontext(&side, outer, 0);
    swapcontext(&whole, &side);
    sum += leaf(2);
    munmap(stack, BYTES);
    sum += leaf(3);
  }
  printf("sum %d\n", sum);
  printf("calls leaf 150\ncalls inner 50\ncalls outer 50\n");
  return 0;
}
