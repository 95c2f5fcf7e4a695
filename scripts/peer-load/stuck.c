// SPDX-License-Identifier: Apache-2.0
//
// usage: stuck
//
// Two threads take two locks, each in its own order, and wait for each other until a signal ends
// them.

#define _GNU_SOURCE
#include <pthread.h>

static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both;

__attribute__((noinline)) void take_second(pthread_mutex_t *lock) {
  pthread_mutex_lock(lock);
  pthread_mutex_unlock(lock);
}

__attribute__((noinline)) void transfer(pthread_mutex_t *from, pthread_mutex_t *to) {
  pthread_mutex_lock(from);
  pthread_barrier_wait(&both);
  take_second(to);
  pthread_mutex_unlock(from);
}

static void *other(void *unused) {
  transfer(&second, &first);
  return unused;
}

int main(void) {
  pthread_t thread;
  pthread_barrier_init(&both, 0, 2);
  pthread_create(&thread, 0, other, 0);
  transfer(&first, &second);
  return pthread_join(thread, 0);
}
