// SPDX-License-Identifier: Apache-2.0
//
// usage: fib N ROUNDS
//
// Computes fib(N) by recursion in each of ROUNDS rounds and prints `best NS cpu NS calls N`, as
// tiny.c does. Compiled with -fno-optimize-sibling-calls, so that each call is one.

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__clang__)
#define UNTRACED __attribute__((xray_never_instrument, no_instrument_function))
#else
#define UNTRACED __attribute__((no_instrument_function))
#endif

__attribute__((noinline)) long fib(long n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

UNTRACED static double nanoseconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

UNTRACED int main(int count, char **words) {
  long n = count > 1 ? atol(words[1]) : -1, result = 0;
  int rounds = count > 2 ? atoi(words[2]) : 0;
  if (n < 0 || n > 45 || rounds < 1) {
    fprintf(stderr, "usage: fib N ROUNDS, N at most 45\n");
    return 64;
  }
  double best = 1e18, least = 1e18;
  for (int round = 0; round < rounds; round++) {
    double start = nanoseconds(CLOCK_MONOTONIC), cpu = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
    result = fib(n);
    double used = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
    double taken = nanoseconds(CLOCK_MONOTONIC) - start;
    if (taken < best) best = taken;
    if (used < least) least = used;
  }
  // fib(n) makes 2 fib(n + 1) - 1 calls, its own among them.
  long calls = 1, before = 1;
  for (long i = 2; i <= n; i++) {
    long next = calls + before + 1;
    before = calls;
    calls = next;
  }
  printf("best %.0f cpu %.0f calls %ld result %ld\n", best, least, calls, result);
  return 0;
}
