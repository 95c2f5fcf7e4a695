// SPDX-License-Identifier: Apache-2.0
// Calls of many kinds: recursion, pointers, static functions, callbacks from libc, tail calls.
#include <stdio.h>
#include <stdlib.h>

#define KEEP __attribute__((noinline, noclone))
static volatile int one = 1;

KEEP int fibonacci(int n) { return n < 2 ? n * one : fibonacci(n - 1) + fibonacci(n - 2); }
static KEEP int order(const void *a, const void *b) {
  return (*(const int *)a - *(const int *)b) * one;
}
static KEEP int twice(int value) { return 2 * value * one; }
KEEP int apply(int (*function)(int), int value) { return function(value) + function(value + 1); }
KEEP int odd(int n);
KEEP int even(int n) { return n == 0 ? one : odd(n - 1); }
KEEP int odd(int n) { return n == 0 ? 0 : even(n - one); }
KEEP long square(long value) { return value * value * one; }
KEEP long sum_of(long (*function)(long), long to) {
  long sum = 0;
  for (long i = 0; i < to; i++) sum += function(i);
  return sum;
}

int main(void) {
  int values[200], total = 0;
  for (int i = 0; i < 200; i++) values[i] = i * 7919 % 211;
  qsort(values, 200, sizeof values[0], order);
  for (int i = 0; i < 10; i++) total += apply(twice, i);
  printf("%d %d %d %d %ld\n", fibonacci(18), values[100], total, even(100), sum_of(square, 50));
  return 0;
}
