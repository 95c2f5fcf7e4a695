// SPDX-License-Identifier: Apache-2.0
#include "workers.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  struct nul_workers *all;
  pthread_t thread;
  _Atomic uint64_t calls, wrong;
  char separate[64];  // so that two threads do not write one cache line
} worker;

struct nul_workers {
  nul_call *calls;
  size_t count;
  int threads;
  _Atomic bool stop;
  worker workers[];
};

static void *work(void *context) {
  worker *self = context;
  struct nul_workers *all = self->all;
  while (!atomic_load_explicit(&all->stop, memory_order_relaxed)) {
    uint64_t wrong = 0;
    for (size_t i = 0; i < all->count; i++) {
      const nul_call *call = &all->calls[i];
      wrong += call->function(call->argument) != call->result;
    }
    atomic_fetch_add_explicit(&self->calls, all->count, memory_order_relaxed);
    if (wrong) atomic_fetch_add_explicit(&self->wrong, wrong, memory_order_relaxed);
  }
  return NULL;
}

nul_workers *nul_workers_start(const nul_call *calls, size_t count, int threads) {
  struct nul_workers *all = calloc(1, sizeof *all + (size_t)threads * sizeof(worker));
  if (all == NULL || (all->calls = calloc(count, sizeof *calls)) == NULL) {
    free(all);
    return NULL;
  }
  memcpy(all->calls, calls, count * sizeof *calls);
  all->count = count;
  for (; all->threads < threads; all->threads++) {
    worker *next = &all->workers[all->threads];
    next->all = all;
    int error = pthread_create(&next->thread, NULL, work, next);
    if (error == 0) continue;
    nul_workers_stop(all, NULL, NULL);
    errno = error;
    return NULL;
  }
  return all;
}

void nul_workers_count(const nul_workers *all, uint64_t *calls, uint64_t *wrong) {
  uint64_t sum = 0, bad = 0;
  for (int i = 0; i < all->threads; i++) {
    sum += atomic_load_explicit(&all->workers[i].calls, memory_order_relaxed);
    bad += atomic_load_explicit(&all->workers[i].wrong, memory_order_relaxed);
  }
  if (calls) *calls = sum;
  if (wrong) *wrong = bad;
}

void nul_workers_stop(nul_workers *all, uint64_t *calls, uint64_t *wrong) {
  atomic_store(&all->stop, true);
  for (int i = 0; i < all->threads; i++) pthread_join(all->workers[i].thread, NULL);
  nul_workers_count(all, calls, wrong);
  free(all->calls);
  free(all);
}

__attribute__((noinline)) void nul_plain_function(void) { __asm__ volatile(""); }
