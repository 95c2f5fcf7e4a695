// SPDX-License-Identifier: Apache-2.0
#ifndef CSK_INTERNAL_H
#define CSK_INTERNAL_H

#include <stdatomic.h>

#include "CSoak.h"

typedef int csk_function(int);

struct csk_slot {
  _Atomic uint64_t gate;       // closed so often << 32 | threads inside
  int index, number;
  csk_function *functions[CSK_FUNCTIONS];
  uint8_t *entries;            // code: one counting entry a function
  uint64_t *hits;              // what they count
  _Atomic uint64_t calls[CSK_MOST_WORKERS][CSK_FUNCTIONS];
};

__attribute__((visibility("hidden"))) bool csk_enter(csk_slot *slot);
__attribute__((visibility("hidden"))) void csk_leave(csk_slot *slot);
/// Calls function `index` and says whether it returns the right result.
__attribute__((visibility("hidden"))) bool csk_check(csk_slot *slot, size_t index, int argument);
__attribute__((visibility("hidden"))) void csk_note_child(int status);

static inline uint64_t csk_random(uint64_t *state) {  // SplitMix64
  uint64_t mixed = *state += 0x9e3779b97f4a7c15;
  mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
  mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
  return mixed ^ mixed >> 31;
}

#endif
