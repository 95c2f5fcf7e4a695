// SPDX-License-Identifier: Apache-2.0
//
// usage: dlopen LIBRARY...
//
// Loads each library and unloads it again; prints how long dlopen took: `dlopen NANOSECONDS`.

#include <dlfcn.h>
#include <stdio.h>
#include <time.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int count, char **words) {
  for (int i = 1; i < count; i++) {
    double began = now();
    void *library = dlopen(words[i], RTLD_NOW);
    double ended = now();
    if (library == NULL) return puts(dlerror()), 1;
    printf("dlopen %.0f\n", ended - began);
    dlclose(library);
  }
  return 0;
}
