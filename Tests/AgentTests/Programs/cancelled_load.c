// SPDX-License-Identifier: Apache-2.0
//
// A cancellation is pending while a thread is in dlopen, which is no cancellation point. Another
// thread can load afterwards.
//
// usage: cancelled_load LIBRARY OTHER

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static volatile int returned;

static void *load(void *path) {
  pthread_cancel(pthread_self());
  void *library = dlopen(path, RTLD_NOW);
  returned = library != NULL;
  pthread_testcancel();
  return library;
}

int main(int count, char **words) {
  if (count != 3) return 64;
  pthread_t thread;
  void *result;
  pthread_create(&thread, NULL, load, words[1]);
  pthread_join(thread, &result);
  printf("dlopen returned: %d, cancelled: %d\n", returned, result == PTHREAD_CANCELED);
  printf("another load: %d\n", dlopen(words[2], RTLD_NOW) != NULL);
  return 0;
}
