// SPDX-License-Identifier: Apache-2.0
//
// Asks the recorder to keep the rings of all threads as they are now (nrec_arena.h). The program runs
// on. From here until the recorder has copied them, no ring's oldest chunk is used again
// (event_chunks.c): what finds no room meanwhile is counted as lost.

#include "agent.h"

void nag_snapshot_ask(uint32_t function, uint64_t spent) {
  nrec_arena *arena = nag_config.arena;
  nag_buffer *buffer = nag_self.buffer;
  if (buffer == NULL || __atomic_load_n(&arena->takes_none, __ATOMIC_RELAXED)) return;
  for (int i = 0; i < NREC_REQUESTS; i++) {
    nrec_request *one = &arena->requests[i];
    uint32_t none = NREC_REQUEST_NONE;
    if (!__atomic_compare_exchange_n(&one->state, &none, NREC_REQUEST_BEGUN, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
      continue;
    __atomic_store_n(&arena->is_held, 1, __ATOMIC_SEQ_CST);
    one->place = nag_process_state->place;
    one->function = function;
    one->thread = buffer->thread;
    one->spent = spent;
    nag_thread_name(one->thread_name);
    __atomic_store_n(&one->state, NREC_REQUEST_MADE, __ATOMIC_RELEASE);
    nag_arena_ring();
    return;
  }
  __atomic_add_fetch(&arena->requests_missed, 1, __ATOMIC_RELAXED);
}
