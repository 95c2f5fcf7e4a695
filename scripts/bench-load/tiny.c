// SPDX-License-Identifier: Apache-2.0
//
// usage: tiny CALLS ROUNDS [THREADS]
//
// Calls a tiny function CALLS times in each of ROUNDS rounds and prints one line:
//
//   best NS  cpu NS  calls N  rdtsc2 NS
//
// best: the quickest round's nanoseconds; with THREADS, the time from the first thread's start to
// the last one's end, each thread making all CALLS. cpu: the least CPU time of a round, of all
// threads together, in nanoseconds. calls: instrumented calls of a round. rdtsc2: two rdtsc, the
// quickest of the rounds. Nothing but tiny() is instrumented where the compiler has a say in it.

#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

#if defined(__clang__)
#define UNTRACED __attribute__((xray_never_instrument, no_instrument_function))
#else
#define UNTRACED __attribute__((no_instrument_function))
#endif

__attribute__((noinline)) int tiny(int x) {
  // The asm volatile makes the compiler keep each call, whatever it finds out about tiny().
  __asm__ volatile("" : "+r"(x));
  return x + 1;
}

static long calls;

UNTRACED static double nanoseconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

UNTRACED static void *round_of_calls(void *unused) {
  int x = 0;
  for (long i = 0; i < calls; i++) x = tiny(x);
  return unused == NULL || x == 0 ? NULL : unused;
}

UNTRACED static void run_threads(int threads) {
  pthread_t ids[64];
  for (int i = 0; i < threads; i++)
    if (pthread_create(&ids[i], NULL, round_of_calls, NULL) != 0) exit(1);
  for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
}

UNTRACED static double two_rdtsc(void) {
  enum { rounds = 20, pairs = 20000 };
  double best = 1e18;
  unsigned long long sum = 0;
  for (int round = 0; round < rounds; round++) {
    double start = nanoseconds(CLOCK_MONOTONIC);
    for (int i = 0; i < pairs; i++) {
      unsigned long long first = __rdtsc();
      sum += __rdtsc() - first;
    }
    double taken = nanoseconds(CLOCK_MONOTONIC) - start;
    if (taken < best) best = taken;
  }
  return sum == 0 ? 0 : best / pairs;
}

UNTRACED int main(int count, char **words) {
  calls = count > 1 ? atol(words[1]) : 0;
  int rounds = count > 2 ? atoi(words[2]) : 0, threads = count > 3 ? atoi(words[3]) : 0;
  if (calls < 1 || rounds < 1 || threads < 0 || threads > 64) {
    fprintf(stderr, "usage: tiny CALLS ROUNDS [THREADS, at most 64]\n");
    return 64;
  }
  // With one thread, use the thread's clock: the process's clock goes by ticks while a profiling
  // timer, such as gprof's, is armed.
  clockid_t clock = threads > 0 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_THREAD_CPUTIME_ID;
  double best = 1e18, least = 1e18;
  for (int round = 0; round < rounds; round++) {
    double start = nanoseconds(CLOCK_MONOTONIC), cpu = nanoseconds(clock);
    if (threads > 0) run_threads(threads);
    else round_of_calls(NULL);
    double used = nanoseconds(clock) - cpu;
    double taken = nanoseconds(CLOCK_MONOTONIC) - start;
    if (taken < best) best = taken;
    if (used < least) least = used;
  }
  printf("best %.0f cpu %.0f calls %ld rdtsc2 %.3f\n", best, least,
         calls * (threads > 0 ? threads : 1), two_rdtsc());
  return 0;
}
