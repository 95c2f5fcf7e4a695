// SPDX-License-Identifier: Apache-2.0
//
// The header that every chunk begins with, and the chunks of counters. Those are mapped from the
// event file, so their counts survive SIGKILL.

#include <sys/prctl.h>

#include "agent.h"
#include "syscalls.h"

// The magic is stored last. If the process is killed before that, readers find no chunk there.
void nag_chunk_begin(nag_buffer *buffer, nrec_chunk_header *header, uint32_t bytes, uint32_t open) {
  uint32_t kind = nag_config.tracer->chunk_kind;
  uint64_t time = nag_time(), used = sizeof *header + open * sizeof(uint32_t);
  nrec_chunk_header filled = {
    .size = bytes, .thread = buffer->thread, .thread_serial = buffer->serial,
    .sequence = buffer->sequence++, .kind = kind, .open_functions = open, .base_time = time,
    .lost_events = buffer->lost < UINT32_MAX ? (uint32_t)buffer->lost : UINT32_MAX,
    .state = kind == NREC_CHUNK_EVENTS ? time << 16 | used : 0,
  };
  NAG_CALL(SYS_prctl, PR_GET_NAME, filled.thread_name);
  *header = filled;
  __atomic_store_n(&header->magic, NREC_CHUNK_MAGIC, __ATOMIC_RELEASE);
}

static uint8_t *map_file(size_t bytes) {
  nag_process *process = nag_process_state;
  if (process->header->flags & NREC_FLAG_FULL) return NULL;
  uint64_t offset = __atomic_fetch_add(&process->header->next_offset, bytes, __ATOMIC_RELAXED);
  uint8_t *memory = NULL;
  if (nag_make_space(process->events, offset, bytes))
    memory = nag_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, process->events, offset);
  if (memory == NULL) nag_mark_full();
  return memory;
}

uint8_t *nag_chunk_map(nag_buffer *buffer, size_t bytes) {
  bytes = nag_whole_pages(bytes + sizeof(nrec_chunk_header));
  nrec_chunk_header *header = (nrec_chunk_header *)map_file(bytes);
  if (header == NULL) return NULL;
  nag_chunk_begin(buffer, header, (uint32_t)bytes, 0);
  return (uint8_t *)(header + 1);
}

void nag_chunk_unmap(const void *contents) {
  if (contents == NULL) return;
  nrec_chunk_header *header = (nrec_chunk_header *)contents - 1;
  NAG_CALL(SYS_munmap, header, header->size);
}
