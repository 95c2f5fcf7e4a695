// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "events.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "loader.h"
#include "modules.h"

enum { CAPACITY = 64 };

static cts_event events[CAPACITY];
static _Atomic size_t count;
static uint8_t wanted[64];
static uint32_t wanted_length;
static _Atomic bool racing, go;
static pthread_t racer;

static bool is_wanted(const npc_module *module, void *context) {
  (void)context;
  return module->build_id_length == wanted_length &&
         memcmp(module->build_id, wanted, wanted_length) == 0;
}

static void note(int event) {
  size_t at = atomic_fetch_add(&count, 1);
  if (at >= CAPACITY) return;
  events[at].event = event;
  events[at].listed = npc_modules_visit(is_wanted, NULL);
}

static void heard(int event, void *context) {
  (void)context;
  if (event == NPC_LOADER_DELETING && racing) {
    note(event);
    go = true;
    nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
  } else {
    note(event);
  }
}

static void *race(void *context) {
  while (!go) nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
  npc_patch_lock();
  note(CTS_OTHER_THREAD);
  npc_patch_unlock();
  return context;
}

int cts_events_start(const uint8_t *build_id, uint32_t length) {
  if (length > sizeof wanted) length = sizeof wanted;
  memcpy(wanted, build_id, length);
  wanted_length = length;
  count = 0;
  go = racing = false;
  return npc_loader_subscribe(heard, NULL);
}

void cts_events_race(void) {
  racing = pthread_create(&racer, NULL, race, NULL) == 0;
}

size_t cts_events_stop(cts_event *copy, size_t capacity) {
  if (racing) {
    go = true;
    pthread_join(racer, NULL);
    racing = false;
  }
  npc_loader_unsubscribe(heard, NULL);
  size_t used = count < CAPACITY ? count : CAPACITY;
  if (used > capacity) used = capacity;
  memcpy(copy, events, used * sizeof *copy);
  return used;
}
