// SPDX-License-Identifier: Apache-2.0
//
// The recorder's end of the gate (nrec_arena.h), and of what the filter of threads has met.

#include "arena_internal.h"

uint32_t nrc_arena_gate(const nrc_arena *arena) {
  return arena->shared == NULL ? NREC_GATE_OPEN
                               : __atomic_load_n(&arena->shared->gate, __ATOMIC_ACQUIRE);
}

bool nrc_arena_set_gate(nrc_arena *arena, uint32_t from, uint32_t to) {
  return arena->shared != NULL &&
         __atomic_compare_exchange_n(&arena->shared->gate, &from, to, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED);
}

uint32_t nrc_arena_thread_rules_met(const nrc_arena *arena) {
  return arena->shared == NULL
             ? 0
             : __atomic_load_n(&arena->shared->thread_rules_met, __ATOMIC_RELAXED);
}

// Held rings wait for the recorder.
void nrc_arena_find_gate(nrc_arena *arena) {
  if (nrc_arena_is_held(arena)) arena->has_news = true;
  uint32_t gate = nrc_arena_gate(arena);
  if (gate == arena->seen_gate) return;
  arena->seen_gate = gate;
  arena->has_news = true;
}
