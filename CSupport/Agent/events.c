// SPDX-License-Identifier: Apache-2.0
//
// Events in their long forms, for the slow paths; graph.S and function.S write the common forms.
// Callers have blocked signals.

#include "agent.h"
#include "shadow_stack.h"
#include "syscalls.h"

enum { MOST_LISTED = 64 };

void nag_event_append(uint64_t word, uint32_t bytes, uint64_t time) {
  nag_buffer *buffer = nag_self.buffer;
  uint64_t offset = *nag_state(buffer) & 0xffff;
  __builtin_memcpy(nag_chunk(buffer) + offset, &word, 8);
  __atomic_store_n(nag_state(buffer), time << 16 | (offset + bytes), __ATOMIC_RELEASE);
}

// The time can be earlier than that of the last event: a chunk was begun after the event was
// stamped, or one CPU's TSC is behind another's. The event then gets the time of the last one. With
// an earlier time, all events after it would be read too late by the difference.
uint64_t nag_event_delta(uint64_t *time, uint64_t most) {
  uint64_t last = *nag_state(nag_self.buffer) >> 16;
  uint64_t delta = nag_since(*time, last);
  if (delta >> 47) {
    *time = last;
    return 0;
  }
  if (delta <= most) return delta;
  nag_event_append(delta << 8 | NREC_EVENT_TIME, 8, *time);
  return 0;
}

void nag_event_entry(uint32_t function, uint64_t time, bool is_hooked) {
  if (!nag_event_make_room(is_hooked ? -1 : 0)) return;
  uint64_t delta = nag_event_delta(&time, 0xffffff);
  nag_event_append((uint64_t)function << 32 | delta << 8 | NREC_EVENT_ENTRY, 8, time);
}

void nag_event_exit(uint64_t time) {
  if (!nag_event_make_room(1)) return;
  uint64_t delta = nag_event_delta(&time, 16383);
  nag_event_append(delta << 2 | 3, 2, time);
}

// The frames ended when they were unwound, if the agent was told of that. If not (a coroutine was
// given up), they ended at some time after the last event.
void nag_event_unwound(uint32_t count) {
  if (!nag_event_make_room((int32_t)count)) return;
  uint64_t last = *nag_state(nag_self.buffer) >> 16, time = nag_self.unwound & 0xffffffffffff;
  bool is_later = time != 0 && nag_since(time, last) >> 47 == 0;
  if (!is_later) time = last;
  nag_event_delta(&time, 0);
  uint64_t word = (uint64_t)(count & 0xffffff) << 8 | NREC_EVENT_UNWOUND;
  nag_event_append(word, 4, time);
}

// Lists the functions that are open there, unless this chunk has them already: a reader may have no
// other chunk.
void nag_event_switched(nag_stack *to, uint64_t now) {
  const uint32_t most = 8 + MOST_LISTED * sizeof(uint32_t);
  if (nag_self.buffer == NULL || !nag_event_make_room_for(most, 0)) return;
  nrec_chunk_header *header = (nrec_chunk_header *)nag_chunk(nag_self.buffer);
  bool is_listed = to->listed == header->sequence + 1;
  to->listed = header->sequence + 1;
  nag_event_delta(&now, 0);
  uint8_t *event = (uint8_t *)header + (*nag_state(nag_self.buffer) & 0xffff);
  uint32_t count = is_listed ? 0 : nag_shadow_list(to, event + 8, MOST_LISTED);
  uint64_t word = (uint64_t)to->id << 32 | (uint64_t)count << 8 | NREC_EVENT_SWITCH;
  nag_event_append(word, 8 + count * (uint32_t)sizeof(uint32_t), now);
}

void nag_event_split(uint32_t count, uint32_t number, uint64_t now, const nag_slot *slot,
                     const nag_slot *caller) {
  (void)slot, (void)caller;
  if (nag_self.buffer == NULL || !nag_event_make_room(0)) return;
  nag_event_delta(&now, 0);
  nag_event_append((uint64_t)number << 32 | (uint64_t)(count & 0xffffff) << 8 | NREC_EVENT_SPLIT, 8,
                   now);
}
