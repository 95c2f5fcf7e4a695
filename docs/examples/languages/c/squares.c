// SPDX-License-Identifier: Apache-2.0
//
// What docs/languages.md builds: noinline, so that there are functions to see at every -O.

#include <stdio.h>

__attribute__((noinline)) static unsigned square(unsigned x) { return x * x; }

__attribute__((noinline)) static unsigned sum_of_squares(unsigned n) {
  unsigned sum = 0;
  for (unsigned i = 1; i <= n; i++) sum += square(i);
  return sum;
}

// argc keeps the compiler from making a copy of the function for one number.
int main(int argc, char **argv) {
  (void)argv;
  printf("%u\n", sum_of_squares(999 + (unsigned)argc));
  return 0;
}
