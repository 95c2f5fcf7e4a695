// SPDX-License-Identifier: Apache-2.0
// Creates the file `ready` in the folder argv[1], waits for the file `go`, continues, and writes
// `done`. argv[2] is a plugin.
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
static volatile int one = 1;

KEEP int before(int value) { return value + one; }
KEEP int after(int value) { return value + 2 * one; }

int main(int count, char **words) {
  long sum = 0;
  if (count < 3 || chdir(words[1]) != 0) return 2;
  for (int i = 0; i < 100000; i++) sum += before(i);
  close(open("ready", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  while (access("go", F_OK) != 0) usleep(10000);
  for (int i = 0; i < 40; i++) {
    void *plugin = dlopen(words[2], RTLD_NOW);
    sum += ((int (*)(int))dlsym(plugin, "plugin_enter"))(i);
    dlclose(plugin);
  }
  for (int i = 0; i < 100000; i++) sum += after(i);
  FILE *done = fopen("part", "w");
  fprintf(done, "sum %ld\n", sum);
  fclose(done);
  return rename("part", "done") != 0;
}
