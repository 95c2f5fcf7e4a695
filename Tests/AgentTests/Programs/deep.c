// SPDX-License-Identifier: Apache-2.0
// Recursion 100,000 deep.
#include <stdio.h>

static volatile long turn;

__attribute__((noinline, noclone)) long down(long level) {
  long below = level == 0 ? 0 : down(level - 1);
  turn++;
  return below + (turn > 0);
}

int main(void) {
  for (int i = 0; i < 3; i++) printf("depth %ld\n", down(99999));
  printf("calls down 300000\n");
  return 0;
}
