// SPDX-License-Identifier: Apache-2.0
//
// The slots, their gates, and the entries that count.

#define _GNU_SOURCE
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

enum { ENTRY_BYTES = 16, PAGE = 4096 };

static const uint64_t closed_once = (uint64_t)1 << 32;

// f0 48 ff 05 disp32    lock incq counter(%rip)
// c3                    ret
static void write_entry(uint8_t *code, const uint64_t *counter) {
  static const uint8_t increment[] = {0xf0, 0x48, 0xff, 0x05};
  memset(code, 0xcc, ENTRY_BYTES);
  memcpy(code, increment, sizeof increment);
  int32_t distance = (int32_t)((const uint8_t *)counter - (code + 8));
  memcpy(code + 4, &distance, sizeof distance);
  code[8] = 0xc3;
}

// Makes a page of code and, behind it, a page of counters.
static bool make_entries(csk_slot *slot) {
  uint8_t *code = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) return false;
  slot->hits = (uint64_t *)(code + PAGE);
  for (int i = 0; i < CSK_FUNCTIONS; i++) write_entry(code + i * ENTRY_BYTES, &slot->hits[i]);
  slot->entries = code;
  return mprotect(code, PAGE, PROT_READ | PROT_EXEC) == 0;
}

csk_slot *csk_slots(void) {
  size_t bytes = CSK_MOST_SLOTS * sizeof(csk_slot);
  csk_slot *slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (slots == MAP_FAILED) return NULL;
  for (int i = 0; i < CSK_MOST_SLOTS; i++) {
    slots[i].gate = closed_once;
    slots[i].index = i;
    if (!make_entries(&slots[i])) return NULL;
  }
  return slots;
}

csk_slot *csk_slot_at(csk_slot *slots, size_t index) { return &slots[index]; }

bool csk_enter(csk_slot *slot) {
  if (atomic_fetch_add(&slot->gate, 1) < closed_once) return true;
  csk_leave(slot);
  return false;
}

void csk_leave(csk_slot *slot) { atomic_fetch_sub(&slot->gate, 1); }

void csk_close(csk_slot *slot) {
  atomic_fetch_add(&slot->gate, closed_once);
  while ((uint32_t)atomic_load(&slot->gate) != 0) sched_yield();
}

void csk_open(csk_slot *slot) { atomic_fetch_sub(&slot->gate, closed_once); }

void csk_fill(csk_slot *slot, void *_Nonnull const *_Nonnull functions, int number) {
  memcpy(slot->functions, functions, sizeof slot->functions);
  slot->number = number;
}

const void *csk_entry(csk_slot *slot, size_t index) { return slot->entries + index * ENTRY_BYTES; }

uint64_t csk_entries(const csk_slot *slot, size_t index) {
  return __atomic_load_n(&slot->hits[index], __ATOMIC_SEQ_CST);
}

uint64_t csk_calls(const csk_slot *slot, size_t index) {
  uint64_t sum = 0;
  for (int i = 0; i < CSK_MOST_WORKERS; i++) sum += slot->calls[i][index];
  return sum;
}
