// SPDX-License-Identifier: Apache-2.0
//
// Tracer `function_graph` in C: the slow paths of graph.S, and the whole tracer where threads have
// no rseq area. TO_C (stubs.h) calls it with every register kept. Signals are blocked here, because
// a signal handler's own traced calls would otherwise find the thread's state half changed.

#include "agent.h"
#include "syscalls.h"

// The first event of a thread comes here too: the buffer must exist before the frame is hooked.
void nag_enter_graph(uint32_t function, uint64_t *location) {
  uint64_t signals = nag_block_signals();
  if (nag_thread_buffer() != NULL) {
    nag_slot *slot = nag_shadow_push(location, function);
    nag_event_entry(function, nag_time(), slot != NULL);
    if (slot != NULL) slot->extra = 0;  // as the assembly does: what was timed there is over
    // There is no slot (the recursion is too deep, or there is no memory): the call is counted, its
    // end is not recorded.
    if (slot == NULL) nag_event_unwound(1);
  }
  nag_restore_signals(signals);
}

// Records an entry that had no room, or is too long for the hot path's forms. The frame is hooked
// already, unless the function's return cannot be hooked.
void nag_enter_graph_only(uint32_t function, uint64_t *location) {
  (void)location;
  uint64_t signals = nag_block_signals();
  bool is_hooked = nag_self.top > nag_self.first + 1 && nag_self.top[-1].function == function;
  nag_event_entry(function, nag_time(), nag_self.first && is_hooked);
  nag_restore_signals(signals);
}

uint64_t nag_leave_graph(nag_slot *slot, uint64_t location) {
  uint64_t signals = nag_block_signals();
  uint64_t time = nag_time();
  nag_returned how;
  uint64_t back = nag_shadow_pop(slot, location, &how);
  if (!how.is_unknown) nag_event_exit(time);
  if (how.is_last) nag_shadow_resume();
  nag_restore_signals(signals);
  return back;
}
