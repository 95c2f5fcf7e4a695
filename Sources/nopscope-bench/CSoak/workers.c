// SPDX-License-Identifier: Apache-2.0
//
// Threads that call the functions of the slots' libraries and check every result.

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "internal.h"

static struct {
  csk_slot *slots;
  size_t count;
  uint64_t seed;
  _Atomic bool stop;
  int started;
  pthread_t threads[CSK_MOST_WORKERS];
} workers;

static _Atomic uint64_t wrong_results, wrong_children;
static csk_wrong last;

csk_wrong csk_what_was_wrong(void) {
  csk_wrong wrong = last;
  wrong.results = wrong_results;
  wrong.children = wrong_children;
  return wrong;
}

void csk_note_child(int status) {
  if (status == 0) return;
  last.last_status = status;
  wrong_children++;
}

bool csk_check(csk_slot *slot, size_t index, int argument) {
  int expected = (int)((unsigned)argument * (unsigned)(index + 1) + (unsigned)slot->number);
  int found = slot->functions[index](argument);
  if (found == expected) return true;
  last.slot = slot->index, last.function = (int)index, last.argument = argument;
  last.found = found, last.expected = expected;
  wrong_results++;
  return false;
}

static void *work(void *argument) {
  size_t self = (size_t)argument;
  uint64_t state = workers.seed + self;
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, NULL);
  while (!atomic_load_explicit(&workers.stop, memory_order_relaxed)) {
    uint64_t choice = csk_random(&state);
    csk_slot *slot = &workers.slots[choice % workers.count];
    if (!csk_enter(slot)) {
      sched_yield();
      continue;
    }
    for (int i = 0; i < 64; i++) {
      size_t index = (choice >> 8) + (uint64_t)i * 7 & CSK_FUNCTIONS - 1;
      csk_check(slot, index, (int)(choice >> 32) + i);
      atomic_fetch_add_explicit(&slot->calls[self][index], 1, memory_order_relaxed);
    }
    csk_leave(slot);
  }
  return NULL;
}

int csk_workers_start(csk_slot *slots, size_t count, int wanted, uint64_t seed) {
  workers.slots = slots;
  workers.count = count;
  workers.seed = seed;
  workers.stop = false;
  for (workers.started = 0; workers.started < wanted; workers.started++) {
    size_t self = (size_t)workers.started;
    int error = pthread_create(&workers.threads[self], NULL, work, (void *)self);
    if (error == 0) continue;
    csk_workers_stop();
    return error;
  }
  return 0;
}

void csk_workers_stop(void) {
  workers.stop = true;
  for (int i = 0; i < workers.started; i++) pthread_join(workers.threads[i], NULL);
  workers.started = 0;
}
