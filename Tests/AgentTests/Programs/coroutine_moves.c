// SPDX-License-Identifier: Apache-2.0
// A coroutine that begins on one thread and continues on others, also after its first thread has
// ended.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#define KEEP __attribute__((noinline, noclone))
static volatile int one = 1;

static ucontext_t side;
static __thread ucontext_t whole;
static ucontext_t *volatile back;
static volatile int sum;

KEEP int leaf(int value) { return value + one; }
KEEP void yield(void) { swapcontext(&side, back); }
KEEP int inner(int value) {
  yield();
  sum += leaf(value);
  yield();
  return leaf(value);
}
KEEP int outer(int value) { return inner(value) + leaf(value); }
KEEP void run(void) {
  for (int i = 0; i < 20; i++) sum += outer(i);
  swapcontext(&side, back);
}
KEEP void deeper(int level) {
  if (level > 0) deeper(level - 1);
  else {
    back = &whole;
    swapcontext(&whole, &side);
  }
  sum += leaf(level);
}
KEEP void *worker(void *argument) {
  deeper((int)(long)argument);
  return NULL;
}

int main(void) {
  enum { BYTES = 65536 };
  getcontext(&side);
  side.uc_stack.ss_sp = malloc(BYTES);
  side.uc_stack.ss_size = BYTES;
  makecontext(&side, run, 0);
  for (long i = 0; i < 41; i++) {
    pthread_t thread;
    if (i % 3 == 2) worker((void *)3);
    else {
      pthread_create(&thread, NULL, worker, (void *)(i % 5));
      pthread_join(thread, NULL);
    }
  }
  printf("sum %d\n", sum);
  printf("calls outer 20\ncalls inner 20\ncalls yield 40\ncalls worker 41\n");
  return 0;
}
