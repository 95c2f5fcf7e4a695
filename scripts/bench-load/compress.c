// SPDX-License-Identifier: Apache-2.0
//
// usage: compress THREADS ROUNDS
//
// A compressor as pigz is one: in each of ROUNDS rounds THREADS threads deflate blocks of text with
// zlib, two each, and the sizes are checked against each other. Prints `best NS cpu NS`, as tiny.c
// does. This file is not instrumented, zlib's are.

#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "zlib.h"

enum { block_size = 256 << 10, blocks_per_thread = 2, most_threads = 64 };

static unsigned char block[block_size];

// Words of a small vocabulary in a fixed order: text-like, the same in every run.
static void write_block(void) {
  unsigned seed = 42;
  for (size_t at = 0; at < block_size;) {
    seed = seed * 1103515245u + 12345u;
    unsigned word = seed >> 20;
    for (unsigned i = 0; i < 2 + word % 7 && at < block_size; i++)
      block[at++] = (unsigned char)('a' + (word * (i + 3)) % 26);
    if (at < block_size) block[at++] = word % 11 == 0 ? '\n' : ' ';
  }
}

static void *compress_blocks(void *size) {
  uLongf bound = compressBound(block_size);
  unsigned char *output = malloc(bound);
  for (int i = 0; i < blocks_per_thread; i++) {
    uLongf length = bound;
    if (output == NULL || compress2(output, &length, block, block_size, 6) != Z_OK) exit(1);
    *(uLongf *)size = length;
  }
  free(output);
  return NULL;
}

static double nanoseconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void run_round(int threads) {
  pthread_t ids[most_threads];
  uLongf sizes[most_threads];
  for (int i = 0; i < threads; i++)
    if (pthread_create(&ids[i], NULL, compress_blocks, &sizes[i]) != 0) exit(1);
  for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
  for (int i = 1; i < threads; i++)
    if (sizes[i] != sizes[0]) exit(1);
}

int main(int count, char **words) {
  int threads = count > 1 ? atoi(words[1]) : 0, rounds = count > 2 ? atoi(words[2]) : 0;
  if (threads < 1 || threads > most_threads || rounds < 1) {
    fprintf(stderr, "usage: compress THREADS ROUNDS, at most 64 threads\n");
    return 64;
  }
  write_block();
  double best = 1e18, least = 1e18;
  for (int round = 0; round < rounds; round++) {
    double start = nanoseconds(CLOCK_MONOTONIC), cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    run_round(threads);
    double used = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    double taken = nanoseconds(CLOCK_MONOTONIC) - start;
    if (taken < best) best = taken;
    if (used < least) least = used;
  }
  printf("best %.0f cpu %.0f\n", best, least);
  return 0;
}
