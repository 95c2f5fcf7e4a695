// SPDX-License-Identifier: Apache-2.0
#include "callers.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct cts_callers {
  cts_call *calls;
  size_t count;
  int threads;
  _Atomic bool stop;
  _Atomic int ready;
  _Atomic uint64_t made, wrong;
  pthread_t ids[];
};

static void *work(void *context) {
  cts_callers *all = context;
  sigset_t none;  // the parent thread may block signals: libdispatch's threads do
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, NULL);
  all->ready++;
  while (!atomic_load_explicit(&all->stop, memory_order_relaxed)) {
    uint64_t wrong = 0;
    for (size_t i = 0; i < all->count; i++)
      wrong += all->calls[i].function(all->calls[i].argument) != all->calls[i].result;
    atomic_fetch_add_explicit(&all->made, all->count, memory_order_relaxed);
    if (wrong) atomic_fetch_add_explicit(&all->wrong, wrong, memory_order_relaxed);
  }
  return NULL;
}

cts_callers *cts_callers_start(const cts_call *calls, size_t count, int threads) {
  cts_callers *all = calloc(1, sizeof *all + (size_t)threads * sizeof(pthread_t));
  if (all == NULL) return NULL;
  all->calls = malloc(count * sizeof *calls);
  memcpy(all->calls, calls, count * sizeof *calls);
  all->count = count;
  for (; all->threads < threads; all->threads++) {
    int error = pthread_create(&all->ids[all->threads], NULL, work, all);
    if (error == 0) continue;
    uint64_t made;
    cts_callers_stop(all, &made);
    errno = error;
    return NULL;
  }
  while (all->ready < threads) sched_yield();
  return all;
}

uint64_t cts_callers_count(const cts_callers *callers) { return callers->made; }

uint64_t cts_callers_stop(cts_callers *all, uint64_t *made) {
  all->stop = true;
  for (int i = 0; i < all->threads; i++) pthread_join(all->ids[i], NULL);
  uint64_t wrong = all->wrong;
  *made = all->made;
  free(all->calls);
  free(all);
  return wrong;
}
