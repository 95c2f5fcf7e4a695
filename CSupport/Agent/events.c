// SPDX-License-Identifier: Apache-2.0
//
// Events in their long forms: the slow paths. graph.S and function.S write the common ones. Signals
// are blocked.

#include "agent.h"

// Appends `bytes` (8 at most) of `word`, whose time has been written as a delta.
static void append(uint64_t word, uint32_t bytes, uint64_t time) {
  nag_buffer *buffer = nag_self.buffer;
  uint64_t offset = *nag_state(buffer) & 0xffff;
  __builtin_memcpy(buffer->chunk + offset, &word, 8);
  __atomic_store_n(nag_state(buffer), time << 16 | (offset + bytes), __ATOMIC_RELEASE);
}

// The time since the last event, in 48 bits; first a TIME event where it is longer than `most`.
// Where time falls (a chunk was begun after the event was stamped, a TSC is behind another CPU's)
// the event is as late as the last one: set back, all that follow would read late by as much.
static uint64_t delta_of(uint64_t *time, uint64_t most) {
  uint64_t last = *nag_state(nag_self.buffer) >> 16;
  uint64_t delta = (*time - last) & 0xffffffffffff;
  if (delta >> 47) {
    *time = last;
    return 0;
  }
  if (delta <= most) return delta;
  append(delta << 8 | NREC_EVENT_TIME, 8, *time);
  return 0;
}

void nag_event_entry(uint32_t function, uint64_t time, bool is_hooked) {
  if (!nag_buffer_make_room(is_hooked ? -1 : 0)) return;
  uint64_t delta = delta_of(&time, 0xffffff);
  append((uint64_t)function << 32 | delta << 8 | NREC_EVENT_ENTRY, 8, time);
}

void nag_event_exit(uint64_t time) {
  if (!nag_buffer_make_room(1)) return;
  uint64_t delta = delta_of(&time, 16383);
  append(delta << 2 | 3, 2, time);
}

void nag_event_called(uint32_t function, uint64_t time, uint64_t parent) {
  if (!nag_buffer_make_room(0)) return;
  uint64_t delta = delta_of(&time, 0xffffff);
  nag_buffer *buffer = nag_self.buffer;
  append((uint64_t)function << 32 | delta << 8 | NREC_EVENT_ENTRY, 8, time);
  append(parent << 16 >> 8 | NREC_EVENT_PARENT, 8, time);
  uint32_t pair = nrec_pair(function, parent);
  buffer->callers[pair] = parent << 16 | buffer->epoch;
  buffer->called[pair] = function;
}

void nag_event_unwound(uint32_t count) {
  if (!nag_buffer_make_room((int32_t)count)) return;
  uint64_t word = (uint64_t)(count & 0xffffff) << 8 | NREC_EVENT_UNWOUND;
  append(word, 4, *nag_state(nag_self.buffer) >> 16);
}

void nag_event_exit_at(uint32_t depth, uint64_t time) {
  if (!nag_buffer_make_room(0)) return;
  uint64_t delta = delta_of(&time, 0xffffff);
  append((uint64_t)depth << 32 | delta << 8 | NREC_EVENT_EXIT_AT, 8, time);
}
