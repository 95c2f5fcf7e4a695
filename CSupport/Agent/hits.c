// SPDX-License-Identifier: Apache-2.0
//
// Tracer `hits`: one counter per function and thread. The counters are in the arena, so a SIGKILL of
// the program loses none.

#include "agent.h"
#include "syscalls.h"

enum { STEP = 4096 };

// Makes the counters or more of them. The old counts are copied, and the new counters are used from
// then on.
static void widen(nag_buffer *buffer, uint32_t function) {
  uint64_t wanted = ((uint64_t)function + STEP) & ~(uint64_t)(STEP - 1);
  if (wanted < 2 * buffer->counted) wanted = 2 * buffer->counted;
  uint64_t *counts = (uint64_t *)nag_chunk_make(buffer, wanted * sizeof *counts, true);
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
  buffer->counts = NULL;
  buffer->counted = 0;
  nag_chunks_finish(buffer);
  return calls;
}
