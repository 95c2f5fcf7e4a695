// SPDX-License-Identifier: Apache-2.0
//
// Tracer `hits`: one counter per function and thread. The counters are in the event file, so
// SIGKILL loses none.

#include "agent.h"
#include "syscalls.h"

enum { STEP = 4096 };

// Makes the counters or more of them. The old counts are copied, and the new counters are used from
// then on.
static void widen(nag_buffer *buffer, uint32_t function) {
  uint64_t wanted = ((uint64_t)function + STEP) & ~(uint64_t)(STEP - 1);
  uint64_t *counts = (uint64_t *)nag_chunk_map(buffer, wanted * sizeof *counts);
  if (counts == NULL) return;
  nag_copy(counts, buffer->counts, buffer->counted * sizeof *counts);
  buffer->counts = counts;
  buffer->counted = wanted;
}

void nag_enter_hits(uint32_t function, uint64_t *location) {
  (void)location;
  uint64_t signals = nag_block_signals();
  nag_buffer *buffer = nag_thread_buffer();
  if (buffer != NULL) {
    if (function >= buffer->counted) widen(buffer, function);
    if (function < buffer->counted) buffer->counts[function]++;
    else nag_lose(1);
  }
  nag_restore_signals(signals);
}

uint64_t nag_hits_finish(nag_buffer *buffer) {
  uint64_t calls = 0;
  for (uint64_t i = 0; i < buffer->counted; i++) calls += buffer->counts[i];
  nag_chunk_unmap(buffer->counts);
  return calls;
}
