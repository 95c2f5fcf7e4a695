// SPDX-License-Identifier: Apache-2.0
//
// The header that every chunk begins with, and the chunks of counters. A thread counts in them until
// it ends. The recorder writes them then, or when the process has ended, however it did.

#include "agent.h"
#include "syscalls.h"

// The magic is stored last. If the process is killed before that, the recorder finds no chunk there.
void nag_chunk_begin(nag_buffer *buffer, nrec_chunk_header *header, uint32_t bytes, uint32_t open) {
  uint32_t kind = nag_config.tracer->chunk_kind;
  uint64_t time = nag_time(), used = sizeof *header + open * sizeof(uint32_t);
  nrec_chunk_header filled = {
    .size = bytes, .thread = buffer->thread, .thread_serial = buffer->serial,
    .sequence = buffer->sequence++, .kind = kind, .open_functions = open, .base_time = time,
    .lost_events = buffer->lost < UINT32_MAX ? (uint32_t)buffer->lost : UINT32_MAX,
    .state = kind == NREC_CHUNK_EVENTS ? time << 16 | used : 0,
  };
  nag_thread_name(filled.thread_name);
  *header = filled;
  __atomic_store_n(&header->magic, NREC_CHUNK_MAGIC, __ATOMIC_RELEASE);
}

// A chunk that was replaced stays the thread's until it ends: a signal handler may have interrupted
// an instruction that counts there.
uint8_t *nag_chunk_make(nag_buffer *buffer, size_t bytes, bool replaces) {
  bytes = nag_whole_pages(bytes + sizeof(nrec_chunk_header));
  nrec_chunk_header *header = (nrec_chunk_header *)nag_arena_take(nag_places_of(bytes));
  if (header == NULL) return NULL;
  nag_zero(header, bytes);
  nag_chunk_begin(buffer, header, (uint32_t)bytes, 0);
  nag_arena_link(header, buffer->counters);
  if (replaces && buffer->counters != NULL) nag_arena_keep(buffer->counters);
  buffer->counters = (uint8_t *)header;
  return (uint8_t *)(header + 1);
}

void nag_chunks_finish(nag_buffer *buffer) {
  bool are_parts = nag_config.tracer->chunk_kind == NREC_CHUNK_CALL_TREE;
  uint8_t *chunk = buffer->counters;
  for (bool is_newest = true; chunk != NULL; is_newest = false) {
    uint8_t *next = nag_arena_linked(chunk);
    if (is_newest || are_parts) nag_arena_hand_over(chunk);
    else nag_arena_give_back(chunk, nag_places_of(((nrec_chunk_header *)chunk)->size));
    chunk = next;
  }
  buffer->counters = NULL;
}
