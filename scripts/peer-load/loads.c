// SPDX-License-Identifier: Apache-2.0
//
// usage: loads TIMES PATH LIBRARY...
//
// Loads each LIBRARY in turn, TIMES times, by the one PATH that is made a link to it, calls its work()
// 10 times and unloads it. With - for PATH each is loaded by its own name.

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int use(const char *path) {
  void *library = dlopen(path, RTLD_NOW);
  int (*work)(int) = library ? (int (*)(int))dlsym(library, "work") : 0;
  int sum = 0;
  if (!work) {
    fprintf(stderr, "loads: %s\n", dlerror());
    exit(1);
  }
  for (int i = 0; i < 10; i++) sum += work(i);
  dlclose(library);
  return sum;
}

int main(int count, char **words) {
  int sum = 0;
  if (count < 4) return 64;
  for (int time = 0; time < atoi(words[1]); time++) {
    for (int i = 3; i < count; i++) {
      if (!strcmp(words[2], "-")) {
        sum += use(words[i]);
      } else {
        unlink(words[2]);
        if (symlink(words[i], words[2])) return 1;
        sum += use(words[2]);
      }
    }
  }
  return sum == 1;
}
