// SPDX-License-Identifier: Apache-2.0
//
// A program with a beginning, a middle and an end. In the middle three threads and a forked child work
// too. It prints how often each function was called.

#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLED(name) __attribute__((noinline)) void name(void) { __asm__ volatile(""); }

CALLED(before) CALLED(begin_work) CALLED(inside) CALLED(finish_work) CALLED(after)

enum { THREADS = 3 };

void *thread(void *unused) {
  for (int i = 0; i < 100; i++) inside();
  return NULL;
}

void child(void) {
  for (int i = 0; i < 20; i++) inside();
  _exit(3);
}

void middle(void) {
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, thread, NULL);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  int status;
  pid_t forked = fork();
  if (forked == 0) child();
  waitpid(forked, &status, 0);
  printf("child %d\n", WEXITSTATUS(status));
}

int main(void) {
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 10; i++) before();
    begin_work();
    middle();
    finish_work();
    for (int i = 0; i < 30; i++) after();
  }
  return 7;
}
