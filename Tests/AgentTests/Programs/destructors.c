// SPDX-License-Identifier: Apache-2.0
//
// A thread's destructors of thread-specific data call traced functions, and one of them sets its
// data again, so that it is called in the next round too.

#include <pthread.h>

static pthread_key_t key;
static int rounds;

__attribute__((noinline)) void last_words(void) { rounds++; }

static void destroy(void *data) {
  last_words();
  if (rounds < 3) pthread_setspecific(key, data);
}

__attribute__((noinline)) void work(void) { pthread_setspecific(key, &key); }

static void *run(void *unused) {
  work();
  return unused;
}

int main(void) {
  pthread_t thread;
  pthread_key_create(&key, destroy);
  pthread_create(&thread, NULL, run, NULL);
  pthread_join(thread, NULL);
  return rounds != 3;
}
