// SPDX-License-Identifier: Apache-2.0
//
// The gate: whether anything is recorded now, in all processes of the recording. It is one word of
// the arena, which the recorder changes when a time has come, and the agents when a function is
// entered that opens or shuts it. gate.S looks at it before each handler, if the recording has a
// gate.

#include "agent.h"

/// The word.
uint32_t *nag_gate __attribute__((visibility("hidden")));
/// What is behind the gate, by the flags that choose a site's handler.
const char *nag_gate_handlers[NAG_HANDLERS];

_Static_assert(NREC_GATE_OPEN == NAG_GATE_OPEN, "as the assembly has it");
_Static_assert(NREC_SITE_START == NAG_SITE_START && NREC_SITE_STOP == NAG_SITE_STOP,
               "as the assembly has it");

void nag_gate_prepare(void) { nag_gate = &nag_config.arena->gate; }

static bool change(uint32_t from, uint32_t to) {
  if (!__atomic_compare_exchange_n(nag_gate, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    return false;
  nag_arena_ring();  // what the recorder does so long after it depends on it
  return true;
}

// A function that shuts the gate is entered: its entry is the last that is recorded. Of several
// threads that enter it together, one wins.
bool nag_gate_trigger(uint32_t marks) {
  uint32_t state = __atomic_load_n(nag_gate, __ATOMIC_ACQUIRE);
  if (marks & NREC_SITE_START && state == NREC_GATE_WAITS) {
    change(NREC_GATE_WAITS, NREC_GATE_OPEN);
    state = __atomic_load_n(nag_gate, __ATOMIC_ACQUIRE);
  }
  if (state != NREC_GATE_OPEN) return false;
  return !(marks & NREC_SITE_STOP) || change(NREC_GATE_OPEN, NREC_GATE_OVER);
}
