// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "sabotage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

static void strike(const cts_saboteur *saboteur) {
  void *page = (void *)saboteur->page;
  switch (saboteur->deed) {
    case CTS_REPLACE_PAGE:
      if (mmap(page, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, saboteur->file,
               saboteur->offset) != page) abort();
      break;
    case CTS_UNMAP_PAGE: munmap(page, PAGE); break;
    case CTS_CHANGE_BYTE: *saboteur->alias = 0xcc; break;
    case CTS_LOCK_PAGE: mprotect(page, PAGE, PROT_NONE); break;
    default: break;
  }
}

bool cts_sabotage(void *context, uint8_t kind, uint8_t length, uint64_t target, uint64_t address,
                  const uint8_t *bytes) {
  cts_saboteur *saboteur = context;
  saboteur->calls++;
  bool confirmed =
    saboteur->inner(saboteur->inner_context, kind, length, target, address, bytes);
  if (address == saboteur->when) strike(saboteur);
  return confirmed;
}

void *cts_share_page(uint64_t address) {
  void *page = (void *)address;
  int file = memfd_create("page", MFD_CLOEXEC);
  if (file < 0) return NULL;
  void *alias = MAP_FAILED;
  if (ftruncate(file, PAGE) == 0 && pwrite(file, page, PAGE, 0) == PAGE)
    alias = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (alias != MAP_FAILED && mmap(page, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, file,
                                  0) == MAP_FAILED) {
    munmap(alias, PAGE);
    alias = MAP_FAILED;
  }
  close(file);
  return alias == MAP_FAILED ? NULL : alias;
}

struct cts_rival {
  pthread_t id;
  volatile uint8_t *watched, *changed;
  uint8_t trigger, value;
  _Atomic bool stop, done;
};

static void *wait_for_moment(void *context) {
  cts_rival *rival = context;
  while (!rival->stop) {
    if (*rival->watched != rival->trigger) continue;
    *rival->changed = rival->value;
    rival->done = true;
    break;
  }
  return NULL;
}

cts_rival *cts_rival_start(volatile uint8_t *watched, uint8_t trigger, volatile uint8_t *changed,
                           uint8_t value) {
  cts_rival *rival = calloc(1, sizeof *rival);
  if (rival == NULL) return NULL;
  rival->watched = watched;
  rival->trigger = trigger;
  rival->changed = changed;
  rival->value = value;
  if (pthread_create(&rival->id, NULL, wait_for_moment, rival) != 0) abort();
  return rival;
}

bool cts_rival_stop(cts_rival *rival) {
  rival->stop = true;
  pthread_join(rival->id, NULL);
  bool done = rival->done;
  free(rival);
  return done;
}
