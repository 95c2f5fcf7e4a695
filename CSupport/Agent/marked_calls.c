// SPDX-License-Identifier: Apache-2.0
//
// Tracer `function_graph` where more is recorded of some functions' calls:
//
//   --args          their arguments, and what they return (values.c)
//   --snapshot-on   a slow call has the recorder keep the rings (snapshots.c)
//
// Only these functions' sites come here; the others have the handlers of graph.S. A slot whose return
// is to come here is marked, and graph.S sends the returns of marked slots.

#include "agent.h"
#include "syscalls.h"

enum { IS_TIMED = 1, HAS_VALUES = 2 };

// Why the return of a function that is called now is to come here.
static uint32_t marks_of(uint32_t function) {
  bool is_timed = nag_config.config.snapshot_limit != 0 &&
                  (!nag_values_has(function, -1) || nag_values_has(function, NREC_FETCH_TIMED));
  return (is_timed ? IS_TIMED : 0) | (nag_values_has(function, NREC_AT_RETURN) ? HAS_VALUES : 0);
}

// The time is taken behind the reading of arguments: what that costs is not the function's own.
void nag_enter_marked(uint32_t function, uint64_t *location, const nag_registers *registers) {
  uint64_t signals = nag_block_signals();
  if (nag_thread_buffer() != NULL) {
    nag_slot *slot = nag_shadow_push(location, function);
    nag_values_record(function, NREC_AT_ENTRY, registers, location, slot != NULL ? -1 : 0);
    uint64_t time = nag_time();
    nag_event_entry(function, time, slot != NULL);
    if (slot == NULL) {
      nag_event_unwound(1);
    } else {
      slot->time = time;
      slot->extra = marks_of(function);
    }
  }
  nag_restore_signals(signals);
}

void nag_enter_marked_only(uint32_t function, uint64_t *location, const nag_registers *registers) {
  uint64_t signals = nag_block_signals();
  if (nag_thread_buffer() != NULL) {
    nag_values_record(function, NREC_AT_ENTRY, registers, location, 0);
    nag_event_entry(function, nag_time(), false);
  }
  nag_restore_signals(signals);
}

// The return is recorded before a snapshot is asked for: it is in the snapshot.
uint64_t nag_leave_marked(nag_slot *slot, uint64_t location, const nag_registers *registers) {
  uint64_t now = nag_time();
  uint32_t function = slot->function, marks = slot->extra;
  uint64_t spent = (marks & IS_TIMED) && now != 0 ? nag_since(now, slot->time) : 0;
  bool is_ours = nag_shadow_matches(slot, location);
  uint64_t signals = nag_block_signals();
  nag_returned how;
  uint64_t back = nag_shadow_pop(slot, location, &how);
  if (!how.is_unknown) {
    if (is_ours && (marks & HAS_VALUES))
      nag_values_record(function, NREC_AT_RETURN, registers, NULL, 1);
    nag_event_exit(now);
  }
  if (how.is_last) nag_shadow_resume();
  nag_restore_signals(signals);
  if (is_ours && spent > nag_config.config.snapshot_limit) nag_snapshot_ask(function, spent);
  return back;
}
