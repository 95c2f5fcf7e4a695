// SPDX-License-Identifier: Apache-2.0
//
// Something to read: two threads that make half of a number of calls each, of five functions up to three
// deep.
//
// usage: many_calls MILLIONS

#include <pthread.h>
#include <stdlib.h>

static volatile int sink;

__attribute__((noinline)) void leaf(void) { sink++; }
__attribute__((noinline)) void other(void) { sink++; }
__attribute__((noinline)) void middle(void) {
  leaf();
  other();
  leaf();
}
__attribute__((noinline)) void step(void) {
  middle();
  leaf();
  other();
  other();
}

static void *run(void *count) {
  for (long i = 0; i < (long)count; i++) step();
  return NULL;
}

int main(int count, char **words) {
  // A step is eight calls.
  long steps = (count > 1 ? atol(words[1]) : 1) * 1000000 / 8 / 2;
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, run, (void *)steps);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  return 0;
}
