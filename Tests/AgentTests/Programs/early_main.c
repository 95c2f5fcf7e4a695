// SPDX-License-Identifier: Apache-2.0
// A program whose functions run on a thread of a preloaded library (early.c), before every
// constructor except that library's.
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

__attribute__((noinline, noclone)) int early_work(int value) { return value + 1; }
__attribute__((noinline, noclone)) int late_work(int value) { return value + 2; }

int main(int count, char **words) {
  int *stop = dlsym(RTLD_DEFAULT, "early_stop");
  long *calls = dlsym(RTLD_DEFAULT, "early_calls");
  long before = calls ? *(volatile long *)calls : 0;
  void *plugin = dlopen(words[1], RTLD_NOW);
  int (*enter)(int) = (int (*)(int))dlsym(plugin, "plugin_enter");
  int sum = enter(1) + late_work(count);
  while (calls && *(volatile long *)calls < before + 100000) usleep(100);
  if (stop) *stop = 1;
  printf("sum %d\n", sum);
  return 3;
}
