// SPDX-License-Identifier: Apache-2.0
//
// The tracers' slow paths, called from stubs.S with every register kept. Signals are blocked here:
// a handler's own traced calls would find the thread's state half done.

#include "agent.h"
#include "syscalls.h"

// The first event of a thread comes here too: then the buffer is made before the frame is hooked.
void nag_enter(uint32_t function, uint64_t *location) {
  uint64_t signals = nag_block_signals();
  if (nag_thread_buffer() != NULL) {
    nag_slot *slot = nag_shadow_push(location, function);
    nag_event_entry(function, nag_time());
    // No slot to be had (the deepest recursion, no memory): the call is counted, its end is not seen.
    if (slot == NULL) nag_event_unwound(1);
  }
  nag_restore_signals(signals);
}

// The frame is hooked; the event had no room, or is too long for the hot path's forms.
void nag_enter_event(uint32_t function, uint64_t *location) {
  (void)location;
  uint64_t signals = nag_block_signals();
  nag_event_entry(function, nag_time());
  nag_restore_signals(signals);
}

uint64_t nag_leave(nag_slot *slot) {
  uint64_t signals = nag_block_signals();
  uint64_t time = nag_time();
  uint32_t depth;
  bool is_top;
  uint64_t back = nag_shadow_pop(slot, &depth, &is_top);
  if (is_top) nag_event_exit(time);
  else nag_event_exit_at(depth, time);
  nag_restore_signals(signals);
  return back;
}

void nag_enter_function(uint32_t function, uint64_t *location) {
  uint64_t signals = nag_block_signals();
  nag_event_entry(function, nag_time());
  nag_event_parent(*location);
  nag_restore_signals(signals);
}

// --- hits ----------------------------------------------------------------------------------------------

// Makes or widens the thread's counters. They stand in the event file, so that SIGKILL loses none.
void nag_enter_hits(uint32_t function, uint64_t *location) {
  (void)location;
  uint64_t signals = nag_block_signals();
  nag_buffer *buffer = nag_thread_buffer();
  if (buffer != NULL && function >= buffer->counted) {
    uint64_t wanted = ((uint64_t)function + 1 + 4095) & ~(uint64_t)4095;
    uint64_t offset, bytes = (wanted * 8 + sizeof(nrec_chunk_header) + 4095) & ~(uint64_t)4095;
    uint8_t *memory = nag_map_file(bytes, &offset);
    if (memory != NULL) {
      uint64_t *counts = (uint64_t *)(memory + sizeof(nrec_chunk_header));
      nag_copy(counts, buffer->counts, buffer->counted * 8);
      nrec_chunk_header header = {
        .magic = NREC_CHUNK_MAGIC, .size = (uint32_t)bytes, .thread = buffer->thread,
        .thread_serial = buffer->serial, .sequence = buffer->sequence++,
        .kind = NREC_CHUNK_HITS, .base_time = nag_time(),
      };
      *(nrec_chunk_header *)memory = header;
      buffer->counts = counts;
      buffer->counted = wanted;
    }
  }
  if (buffer != NULL && function < buffer->counted) buffer->counts[function]++;
  else if (buffer != NULL)
    __atomic_add_fetch(&nag_process_state->header->lost_events, 1, __ATOMIC_RELAXED);
  nag_restore_signals(signals);
}
