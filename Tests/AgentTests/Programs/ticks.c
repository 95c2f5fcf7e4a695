// SPDX-License-Identifier: Apache-2.0
//
// Calls `tick` about each millisecond for a second and a half, in two threads and a forked child, and
// prints how often.

#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long *count;

__attribute__((noinline)) void tick(void) { __atomic_add_fetch(count, 1, __ATOMIC_RELAXED); }

__attribute__((no_instrument_function)) static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void *run(void *unused) {
  for (double end = now() + 1.5; now() < end; usleep(1000)) tick();
  return NULL;
}

int main(void) {
  count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t forked = fork();
  pthread_t other;
  pthread_create(&other, NULL, run, NULL);
  run(NULL);
  pthread_join(other, NULL);
  if (forked == 0) _exit(0);
  waitpid(forked, NULL, 0);
  printf("calls tick %ld\n", *count);
  return 0;
}
