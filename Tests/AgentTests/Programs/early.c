// SPDX-License-Identifier: Apache-2.0
// A library that is initialised before every other (-z initfirst) and starts a thread that runs the
// program's functions while all others are still being initialised.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>

__attribute__((visibility("default"))) _Atomic long early_calls;
__attribute__((visibility("default"))) _Atomic int early_stop;

__attribute__((no_instrument_function)) static void *run(void *function) {
  while (!early_stop) {
    ((int (*)(int))function)(1);
    early_calls++;
  }
  return NULL;
}

__attribute__((constructor, no_instrument_function)) static void start(void) {
  void *function = dlsym(RTLD_DEFAULT, "early_work");
  pthread_t thread;
  if (function == NULL || pthread_create(&thread, NULL, run, function) != 0) return;
  pthread_detach(thread);
  while (early_calls < 1000) {}
}
