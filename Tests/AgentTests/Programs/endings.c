// SPDX-License-Identifier: Apache-2.0
// Threads that end by pthread_exit and by cancellation, deferred and asynchronous.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
static volatile int one = 1;

static _Atomic int cleaned;
static int channel[2];

KEEP int leaf(int value) { return value + one; }
KEEP void cleanup(void *argument) { cleaned += leaf((int)(long)argument) != 0; }
KEEP void leave(int depth) {
  if (depth == 0 && one) pthread_exit((void *)42);
  leave(depth - 1);
  leaf(depth);
}
KEEP void *leaver(void *argument) {
  pthread_cleanup_push(cleanup, argument);
  leave(10);
  pthread_cleanup_pop(0);
  return NULL;
}
KEEP void wait_here(int depth) {
  char byte;
  if (depth == 0) while (read(channel[0], &byte, 1) >= 0) {}
  wait_here(depth - 1);
  leaf(depth);
}
KEEP void *waiter(void *argument) {
  pthread_cleanup_push(cleanup, argument);
  wait_here(5);
  pthread_cleanup_pop(0);
  return NULL;
}
KEEP void *spinner(void *argument) {
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
  for (volatile long i = 0;; i += leaf(1)) {}
  return argument;
}

int main(void) {
  if (pipe(channel) != 0) return 2;
  for (int i = 0; i < 50; i++) {
    pthread_t threads[3];
    void *results[3];
    pthread_create(&threads[0], NULL, leaver, (void *)1);
    pthread_create(&threads[1], NULL, waiter, (void *)2);
    pthread_create(&threads[2], NULL, spinner, NULL);
    usleep(2000);
    pthread_cancel(threads[1]);
    pthread_cancel(threads[2]);
    for (int j = 0; j < 3; j++) pthread_join(threads[j], &results[j]);
    if (results[0] != (void *)42 || results[1] != PTHREAD_CANCELED || results[2] != PTHREAD_CANCELED)
      return 3;
  }
  printf("cleaned %d\n", cleaned);
  printf("calls leaver 50\ncalls leave 550\ncalls cleanup 100\ncalls wait_here 300\n");
  return 0;
}
