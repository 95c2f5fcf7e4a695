// SPDX-License-Identifier: Apache-2.0
//
// A thread starts many fibers, each some calls deep, and ends. Another thread resumes them: each
// returns through its calls.
//
// usage: fibers_outlive FIBERS

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#define NO __attribute__((noinline))

enum { STACK_BYTES = 16384 };

static int count;
static ucontext_t *fibers, back;
static volatile long returns;

NO void fifth(int i) {
  swapcontext(&fibers[i], &back);
  returns++;
}
NO void fourth(int i) {
  fifth(i);
  returns++;
}
NO void third(int i) {
  fourth(i);
  returns++;
}
NO void second(int i) {
  third(i);
  returns++;
}
NO void first(int i) {
  second(i);
  returns++;
}

static void fiber(int i) {
  first(i);
  swapcontext(&fibers[i], &back);
}

static void *start_all(void *unused) {
  for (int i = 0; i < count; i++) swapcontext(&back, &fibers[i]);
  return unused;
}

int main(int words, char **word) {
  count = words > 1 ? atoi(word[1]) : 100;
  fibers = calloc((size_t)count, sizeof *fibers);
  for (int i = 0; i < count; i++) {
    char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    getcontext(&fibers[i]);
    fibers[i].uc_stack.ss_sp = stack;
    fibers[i].uc_stack.ss_size = STACK_BYTES;
    fibers[i].uc_link = &back;
    makecontext(&fibers[i], (void (*)(void))fiber, 1, i);
  }
  pthread_t thread;
  pthread_create(&thread, NULL, start_all, NULL);
  pthread_join(thread, NULL);
  for (int i = 0; i < count; i++) swapcontext(&back, &fibers[i]);
  printf("%ld returns\ncalls first %d\ncalls third %d\ncalls fifth %d\n", returns, count, count,
         count);
  return returns != 5l * count;
}
