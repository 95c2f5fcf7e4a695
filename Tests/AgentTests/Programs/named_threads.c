// SPDX-License-Identifier: Apache-2.0
//
// Threads with names, and names that change meanwhile. Prints how many calls were made under which
// name.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORK(name) \
  __attribute__((noinline)) void name(void) { __asm__ volatile(""); }
WORK(one) WORK(two) WORK(idle) WORK(early) WORK(late) WORK(before) WORK(after)
WORK(unnamed) WORK(renamed) WORK(of_main) WORK(of_child) WORK(of_named_child) WORK(inner)

#define TIMES(count, call) for (int i = 0; i < (count); i++) call

__attribute__((noinline)) void outer(void) {
  inner();
  prctl(PR_SET_NAME, "idle-now");
  inner();
}

static void *first(void *unused) {
  pthread_setname_np(pthread_self(), "worker-1");
  TIMES(100, one());
  return unused;
}
static void *second(void *unused) {
  pthread_setname_np(pthread_self(), "worker-2");
  TIMES(90, two());
  return unused;
}
static void *resting(void *unused) {
  pthread_setname_np(pthread_self(), "idle");
  TIMES(80, idle());
  return unused;
}
static void *leaving(void *unused) {
  pthread_setname_np(pthread_self(), "worker-3");
  TIMES(50, early());
  outer();
  TIMES(45, late());
  return unused;
}
static void *coming(void *unused) {
  prctl(PR_SET_NAME, "idle-before");
  TIMES(75, before());
  prctl(PR_SET_NAME, "worker-4");
  TIMES(70, after());
  return unused;
}

static sem_t reached, go_on;
static void *waiting(void *unused) {
  TIMES(65, unnamed());
  sem_post(&reached);
  sem_wait(&go_on);
  TIMES(60, renamed());
  return unused;
}

int main(void) {
  void *(*const bodies[])(void *) = {first, second, resting, leaving, coming};
  pthread_t thread;
  for (int i = 0; i < 5; i++) {
    pthread_create(&thread, 0, bodies[i], 0);
    pthread_join(thread, 0);
  }
  sem_init(&reached, 0, 0);
  sem_init(&go_on, 0, 0);
  pthread_create(&thread, 0, waiting, 0);
  sem_wait(&reached);
  pthread_setname_np(thread, "worker-5");
  sem_post(&go_on);
  pthread_join(thread, 0);
  TIMES(30, of_main());
  if (fork() == 0) {
    TIMES(20, of_child());
    prctl(PR_SET_NAME, "worker-6");
    TIMES(10, of_named_child());
    _exit(0);
  }
  wait(0);
  return 0;
}
