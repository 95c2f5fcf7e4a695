// SPDX-License-Identifier: Apache-2.0
//
// Small functions with known results, in the shapes that a faulty mcount breaks: recursion, vector
// registers, variadic calls, arguments on the stack, a hidden result pointer.

#include "specimen.h"

#include <stdarg.h>

int specimen_add(int a, int b) { return a + b; }

uint64_t specimen_fib(unsigned n) {
  return n < 2 ? n : specimen_fib(n - 1) + specimen_fib(n - 2);
}

uint32_t specimen_crc32(const void *bytes, size_t length) {
  const uint8_t *byte = bytes;
  uint32_t crc = ~0u;
  for (size_t i = 0; i < length; i++) {
    crc ^= byte[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
  }
  return ~crc;
}

double specimen_sum_doubles(double a, double b, double c, double d, double e, double f, double g,
                            double h) {
  return a + b + c + d + e + f + g + h;
}

int specimen_max(int count, ...) {
  va_list values;
  va_start(values, count);
  int largest = va_arg(values, int);
  for (int i = 1; i < count; i++) {
    int value = va_arg(values, int);
    if (value > largest) largest = value;
  }
  va_end(values);
  return largest;
}

specimen_division specimen_divide(int64_t dividend, int64_t divisor) {
  return (specimen_division){dividend / divisor, dividend % divisor, divisor};
}

unsigned specimen_gcd(unsigned a, unsigned b) { return b == 0 ? a : specimen_gcd(b, a % b); }

size_t specimen_length(const char *text) {
  const char *end = text;
  // The barrier keeps the compiler from making this a call of strlen.
  while (*end) {
    end++;
    __asm__ volatile("");
  }
  return (size_t)(end - text);
}

void specimen_reverse(char *text) {
  size_t length = specimen_length(text);
  for (size_t i = 0; i < length / 2; i++) {
    char first = text[i];
    text[i] = text[length - 1 - i];
    text[length - 1 - i] = first;
  }
}

void specimen_sort(int *values, size_t count) {
  for (size_t i = 1; i < count; i++) {
    int value = values[i];
    size_t at = i;
    for (; at > 0 && values[at - 1] > value; at--) values[at] = values[at - 1];
    values[at] = value;
  }
}

int specimen_sum_eight(int a, int b, int c, int d, int e, int f, int g, int h) {
  return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h;
}

unsigned specimen_popcount(uint64_t value) {
  unsigned ones = 0;
  for (; value; value &= value - 1) ones++;
  return ones;
}

unsigned specimen_collatz(uint64_t start) {
  unsigned steps = 0;
  for (; start != 1; steps++) start = start % 2 ? 3 * start + 1 : start / 2;
  return steps;
}

int specimen_apply(int (*function)(int, int), int a, int b) { return function(a, b); }
