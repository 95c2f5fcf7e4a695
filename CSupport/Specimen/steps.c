// SPDX-License-Identifier: Apache-2.0
//
// Functions of one int with known results. Threads call them all the time while their call sites
// are changed.

#include "specimen.h"

int specimen_square(int n) { return n * n; }
int specimen_negate(int n) { return -n; }
int specimen_parity(int n) { return n & 1; }
int specimen_triangle(int n) { return n * (n + 1) / 2; }
int specimen_digits(int n) {
  int count = 1;
  while (n >= 10 || n <= -10) n /= 10, count++;
  return count;
}
int specimen_fibonacci(int n) {
  return n < 2 ? n : specimen_fibonacci(n - 1) + specimen_fibonacci(n - 2);
}
