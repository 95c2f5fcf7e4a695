// SPDX-License-Identifier: Apache-2.0
// Loads, calls and unloads the libraries of the folder argv[3] in turn. argv[2] is the number of
// libraries, argv[1] the number of loads. Each library is called another number of times. Then the
// program holds argv[4] libraries at once.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define OURS __attribute__((no_instrument_function))
typedef int function(int);

OURS static void *load(const char *folder, long index, function **enter) {
  char path[512];
  snprintf(path, sizeof path, "%s/%04ld.so", folder, index);
  void *library = dlopen(path, RTLD_NOW);
  if (library == NULL) exit(puts(dlerror()));
  *enter = (function *)dlsym(library, "enter");
  return library;
}

OURS int main(int count, char **words) {
  long loads = atol(words[1]), libraries = atol(words[2]), held = atol(words[4]);
  long *calls = calloc(libraries, sizeof *calls), places = 0;
  void *seen[64];
  function *enter;
  for (long i = 0; i < loads; i++) {
    long index = i % libraries, place = 0;
    void *library = load(words[3], index, &enter);
    for (long k = 0; k < index % 7 + 1; k++, calls[index]++)
      if (enter((int)k) != k + 1) return 9;
    while (place < places && seen[place] != (void *)enter) place++;
    if (place == places && places < 64) seen[places++] = (void *)enter;
    dlclose(library);
  }
  void **all = calloc(held + 1, sizeof *all);
  for (long i = 0; i < held; i++) {
    all[i] = load(words[3], i, &enter);
    enter(1), calls[i]++;
  }
  for (long i = 0; i < held; i += 2) dlclose(all[i]);
  for (long i = 1; i < held; i += 2) ((function *)dlsym(all[i], "enter"))(1), calls[i]++;
  for (long i = 1; i < held; i += 2) dlclose(all[i]);
  for (long i = 0; i < libraries; i++) printf("calls turn_%04ld %ld\n", i, calls[i]);
  printf("places %ld\n", places);
  return 3;
}
