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
#include "shadow_stack.h"
#include "syscalls.h"

// Writes the functions that are open now to the chunk's head, so that the chunk can be read alone. If
// there are too many, it writes the innermost ones. On another stack than the thread's own, a mark and
// the stack's number come first.
static uint32_t write_open(nrec_chunk_header *header, int32_t more_open) {
  const uint32_t most = NAG_CHUNK_BYTES / 4 / sizeof(uint32_t);
  uint32_t *numbers = (uint32_t *)(header + 1), count = 0;
  nag_stacks *all = nag_self.stacks;
  if (all == NULL) return 0;
  nag_stack *stack = all->current;
  stack->inner->top = nag_self.top;
  if (stack->id != 0) numbers[count++] = NREC_OTHER_STACK, numbers[count++] = stack->id;
  // The frame that is entered now has its event behind this.
  uint32_t entered = more_open < 0;
  uint32_t open = nag_shadow_list(stack, (uint8_t *)(numbers + count), most + entered);
  if (open > 0) open -= entered;
  count += open;
  // Those that end now have left their functions above `top`.
  for (nag_slot *slot = nag_self.top; more_open > 0 && slot < nag_self.end && count < most; more_open--)
    numbers[count++] = (slot++)->function;
  return count;
}

static uint64_t ring_capacity(void) {
  uint64_t bytes = nag_config.config.overwrite_bytes;
  uint64_t chunks = bytes / NAG_CHUNK_BYTES + (bytes % NAG_CHUNK_BYTES != 0);
  return chunks < 2 ? 2 : chunks;
}

// The ring's next chunk: a fresh one until there are as many as it may have, then the oldest. The
// oldest too where the arena is full: what is left there is for messages, and for the first two
// chunks of a thread, which it cannot do without. None while the rings are being copied.
static uint8_t *next_of_ring(nag_buffer *buffer) {
  uint8_t *last = nag_chunk(buffer), *fresh = NULL;
  bool may_grow = buffer->ring_chunks < 2 || !nag_arena_is_full();
  if (buffer->ring_chunks < ring_capacity() && may_grow) fresh = nag_arena_take(1);
  if (fresh == NULL) {
    bool has_none = buffer->ring_chunks < 2 || nag_arena_is_held();
    return has_none ? NULL : nag_arena_linked(last);
  }
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
  uint32_t open = write_open(header, more_open);
  nag_chunk_begin(buffer, header, NAG_CHUNK_BYTES, open);
  if (nag_self.stacks != NULL) nag_self.stacks->current->listed = header->sequence + 1;
  if (nag_config.tracer->begin_chunk != NULL) nag_config.tracer->begin_chunk(buffer);
  nag_set_chunk(buffer, chunk);
  return true;
}

bool nag_event_make_room(int32_t more_open) { return nag_event_make_room_for(0, more_open); }

bool nag_event_make_room_for(uint32_t bytes, int32_t more_open) {
  nag_buffer *buffer = nag_thread_buffer();
  if (buffer == NULL) return false;
  if (nag_chunk(buffer) != NULL &&
      (*nag_state(buffer) & 0xffff) + bytes <= NAG_CHUNK_BYTES - NAG_CHUNK_SLACK)
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
