// SPDX-License-Identifier: Apache-2.0
//
// Tracer `function_graph` where a slow call of some functions has the recorder keep the rings
// (--snapshot-on). Only these functions' sites come here; the others have the handlers of graph.S. A
// slot whose return is to be timed is marked, and graph.S sends the returns of marked slots here.

#include "agent.h"
#include "syscalls.h"

enum { IS_TIMED = 1 };

void nag_enter_timed(uint32_t function, uint64_t *location) {
  uint64_t signals = nag_block_signals();
  if (nag_thread_buffer() != NULL) {
    nag_slot *slot = nag_shadow_push(location, function);
    uint64_t time = nag_time();
    nag_event_entry(function, time, slot != NULL);
    if (slot == NULL) {
      nag_event_unwound(1);
    } else {
      slot->time = time;
      slot->extra = IS_TIMED;
    }
  }
  nag_restore_signals(signals);
}

// The return is recorded first: it is in the snapshot.
uint64_t nag_leave_timed(nag_slot *slot, uint64_t location) {
  uint64_t now = nag_time(), function = slot->function;
  uint64_t spent = slot->extra == IS_TIMED && now != 0 ? nag_since(now, slot->time) : 0;
  bool is_ours = nag_shadow_matches(slot, location);
  uint64_t back = nag_leave_graph(slot, location);
  if (is_ours && spent > nag_config.config.snapshot_limit)
    nag_snapshot_ask((uint32_t)function, spent);
  return back;
}
