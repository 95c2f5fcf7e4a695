// SPDX-License-Identifier: Apache-2.0
//
// Tracer `function` in C: the slow path of function.S, which explains the pairs, and the whole
// tracer where threads have no rseq area. Signals are blocked here.

#include "agent.h"
#include "syscalls.h"

// A new chunk does not know the pairs that earlier chunks defined: it gets a new epoch. When the
// epoch numbers wrap around, all pairs are cleared.
void nag_function_begin_chunk(nag_buffer *buffer) {
  buffer->epoch = (buffer->epoch + 1) & 0xffff;
  if (buffer->epoch == 0) nag_zero(buffer->callers, sizeof buffer->callers);
}

void nag_event_called(uint32_t function, uint64_t time, uint64_t parent) {
  if (!nag_event_make_room(0)) return;
  uint64_t delta = nag_event_delta(&time, 0xffffff);
  nag_buffer *buffer = nag_self.buffer;
  nag_event_append((uint64_t)function << 32 | delta << 8 | NREC_EVENT_ENTRY, 8, time);
  nag_event_append(parent << 16 >> 8 | NREC_EVENT_PARENT, 8, time);
  uint32_t pair = nrec_pair(function, parent);
  buffer->callers[pair] = parent << 16 | buffer->epoch;
  buffer->called[pair] = function;
}

void nag_enter_function(uint32_t function, uint64_t *location) {
  uint64_t signals = nag_block_signals();
  nag_event_called(function, nag_time(), *location);
  nag_restore_signals(signals);
}
