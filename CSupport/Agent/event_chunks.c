// SPDX-License-Identifier: Apache-2.0
//
// The chunks of events. A thread has one of 64 KiB in the arena. A full one goes to the recorder,
// and the thread takes another. The recorder frees chunks within milliseconds, and the first free
// one is taken: the same pages are used again and again, and the hot path meets no page fault.
//
// Under the flight recorder a thread has a ring of as many chunks as the user asked for; they go to
// the recorder at the thread's end.
//
// Everything here runs with signals blocked.

#include "agent.h"
#include "syscalls.h"

// Writes the functions that are open now to the chunk's head, so that the chunk can be read alone.
// If there are too many, it writes the innermost ones.
static uint32_t write_open(uint8_t *chunk, int32_t more_open) {
  const uint32_t most = NAG_CHUNK_BYTES / 4 / sizeof(uint32_t);
  // A call beyond the deepest slot has no frame on the shadow stack.
  if (nag_self.top + more_open > nag_self.end) more_open = 0;
  int64_t open = (int64_t)nag_shadow_depth() + more_open;
  uint32_t depth = open < 0 ? 0 : open > most ? most : (uint32_t)open;
  const nag_slot *slot = nag_self.top + more_open - depth;
  uint32_t *numbers = (uint32_t *)(chunk + sizeof(nrec_chunk_header)), count = 0;
  for (uint32_t i = 0; i < depth; i++) {
    // The frame that is entered now may have no slot yet, or one above `top`.
    bool is_open = nag_is_open(&slot[i]) || &slot[i] >= nag_self.top;
    if (is_open) numbers[count++] = slot[i].function;
  }
  return count;
}

static uint64_t ring_capacity(void) {
  uint64_t bytes = nag_config.config.overwrite_bytes;
  uint64_t chunks = bytes / NAG_CHUNK_BYTES + (bytes % NAG_CHUNK_BYTES != 0);
  return chunks < 2 ? 2 : chunks;
}

// The ring's next chunk: a fresh one until there are as many as it may have, then the oldest. The
// oldest too where the arena is full: what is left there is for messages, and for the first two
// chunks of a thread, which it cannot do without.
static uint8_t *next_of_ring(nag_buffer *buffer) {
  uint8_t *last = nag_chunk(buffer), *fresh = NULL;
  bool may_grow = buffer->ring_chunks < 2 || !nag_arena_is_full();
  if (buffer->ring_chunks < ring_capacity() && may_grow) fresh = nag_arena_take(1);
  if (fresh == NULL) return buffer->ring_chunks < 2 ? NULL : nag_arena_linked(last);
  nag_arena_link(fresh, last == NULL ? fresh : nag_arena_linked(last));
  if (last != NULL) nag_arena_link(last, fresh);
  buffer->ring_chunks++;
  return fresh;
}

// Gives the full chunk away before it takes another: where many threads wait, these can be freed.
static uint8_t *next_chunk(nag_buffer *buffer) {
  if (nag_config.config.flags & NREC_FLAG_OVERWRITE) return next_of_ring(buffer);
  uint8_t *full = nag_chunk(buffer);
  nag_set_chunk(buffer, NULL);
  if (full != NULL) nag_arena_hand_over(full);
  return nag_arena_take(1);
}

static bool begin_chunk(nag_buffer *buffer, int32_t more_open) {
  uint8_t *chunk = next_chunk(buffer);
  if (chunk == NULL) return false;
  nrec_chunk_header *header = (nrec_chunk_header *)chunk;
  __atomic_store_n(&header->magic, 0, __ATOMIC_SEQ_CST);
  uint32_t open = write_open(chunk, more_open);
  nag_chunk_begin(buffer, header, NAG_CHUNK_BYTES, open);
  if (nag_config.tracer->begin_chunk != NULL) nag_config.tracer->begin_chunk(buffer);
  nag_set_chunk(buffer, chunk);
  return true;
}

bool nag_event_make_room(int32_t more_open) {
  nag_buffer *buffer = nag_thread_buffer();
  if (buffer == NULL) return false;
  if (nag_chunk(buffer) != NULL &&
      (*nag_state(buffer) & 0xffff) <= NAG_CHUNK_BYTES - NAG_CHUNK_SLACK)
    return true;
  if (begin_chunk(buffer, more_open)) return true;
  buffer->lost++;
  nag_lose(1);
  return false;
}

uint64_t nag_event_mark(void) {
  return nag_event_make_room(-1) ? *nag_state(nag_self.buffer) : 0;
}

uint64_t nag_event_chunks_finish(nag_buffer *buffer) {
  uint8_t *chunk = nag_chunk(buffer);
  bool is_ring = nag_config.config.flags & NREC_FLAG_OVERWRITE;
  uint32_t left = chunk == NULL ? 0 : is_ring ? buffer->ring_chunks : 1;
  nag_set_chunk(buffer, NULL);
  buffer->ring_chunks = 0;
  while (left-- > 0 && chunk != NULL) {
    uint8_t *next = left > 0 ? nag_arena_linked(chunk) : NULL;
    nag_arena_hand_over(chunk);
    chunk = next;
  }
  return 0;
}
