// SPDX-License-Identifier: Apache-2.0
//
// The chunks of events. Each thread has two of 64 KiB in a memory file that the recorder holds too:
//
//   current    events go here
//   previous   full; written to the event file when the current one is full too
//
// The same pages are used again and again. So the hot path meets no page fault, and the file grows
// only by what was recorded. After SIGKILL the recorder finds in the memory file what had not been
// written. A full chunk waits as `previous` for one turn, because a signal handler may have
// interrupted a store into it.
//
// The flight recorder has a ring of as many chunks as the user asked for; it is written at the end.
//
// Everything here runs with signals blocked.

#include "agent.h"
#include "syscalls.h"

enum { SLOW_WRITE_NANOSECONDS = 1000000 };

static uint64_t now(void) {
  struct timespec time = {0};
  NAG_CALL(SYS_clock_gettime, 1 /* CLOCK_MONOTONIC */, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// Appends a closed chunk to the event file, and then marks it as written. If the process is killed
// between the two, the recorder writes the chunk a second time; readers recognise the copy by its
// sequence number.
static void write_chunk(nag_buffer *buffer, uint8_t *chunk, bool is_last) {
  nag_process *process = nag_process_state;
  nrec_chunk_header *header = (nrec_chunk_header *)chunk;
  if (header->magic != NREC_CHUNK_MAGIC) return;
  uint64_t bytes = nag_whole_pages(header->state & 0xffff), done = 0, began = now();
  header->size = (uint32_t)bytes;
  bool has_place = !(process->header->flags & NREC_FLAG_FULL);
  uint64_t offset =
      has_place ? __atomic_fetch_add(&process->header->next_offset, bytes, __ATOMIC_RELAXED) : 0;
  bool fits = has_place && !nag_exceeds_limit(offset + bytes);
  while (fits && done < bytes) {
    int64_t wrote = NAG_CALL(SYS_pwrite64, process->events, chunk + done, bytes - done,
                             offset + done);
    // The program has closed our descriptor. The recorder has both files open too: at the end it
    // writes the chunks that are in the memory file.
    if (wrote == -EBADF && is_last) return;
    if (wrote <= 0) fits = false;
    else done += (uint64_t)wrote;
  }
  if (!fits) {
    const uint32_t none = 0;  // half a chunk does not count: clear its magic
    if (done > 0) NAG_CALL(SYS_pwrite64, process->events, &none, sizeof none, offset);
    nag_mark_full();
    buffer->lost++;
    __atomic_add_fetch(&process->header->lost_chunks, 1, __ATOMIC_RELAXED);
  }
  uint64_t spent = now() - began;
  if (spent > SLOW_WRITE_NANOSECONDS) {
    __atomic_add_fetch(&process->header->waits, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&process->header->wait_nanoseconds, spent, __ATOMIC_RELAXED);
  }
  __atomic_store_n(&header->magic, 0, __ATOMIC_RELEASE);
}

// Takes a part of the memory file that no other thread has; false: all are taken.
static bool take_place(nag_process *process, uint64_t bytes, uint64_t *place) {
  bool is_there = true;
  nag_lock(&process->lock);
  if (process->free_places) *place = process->places[--process->free_places];
  else if ((process->next_place + 1) * bytes <= process->memory_bytes)
    *place = process->next_place++;
  else is_there = false;
  nag_unlock(&process->lock);
  return is_there;
}

static void leave_place(nag_process *process, uint64_t place) {
  nag_lock(&process->lock);
  if (process->free_places < NAG_FREE_PLACES)
    process->places[process->free_places++] = (uint32_t)place;
  nag_unlock(&process->lock);
}

// Maps a thread's part of the memory file: its ring of chunks.
static bool make_ring(nag_buffer *buffer) {
  nag_process *process = nag_process_state;
  bool overwrites = nag_config.config.flags & NREC_FLAG_OVERWRITE;
  uint64_t chunks = 2;
  if (overwrites) chunks = nag_config.config.overwrite_bytes / NAG_CHUNK_BYTES +
                           (nag_config.config.overwrite_bytes % NAG_CHUNK_BYTES != 0);
  if (chunks < 2) chunks = 2;
  if (chunks > NREC_MEMORY_BYTES / NAG_CHUNK_BYTES) return false;
  uint64_t bytes = chunks * NAG_CHUNK_BYTES;
  uint64_t place;
  if (!take_place(process, bytes, &place)) return false;
  buffer->ring = nag_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, process->memory,
                          place * bytes);
  if (buffer->ring == NULL) {
    leave_place(process, place);
    return false;
  }
  nag_zero(buffer->ring, NAG_CHUNK_HEADER);
  buffer->place = place;
  buffer->ring_chunks = (uint32_t)chunks;
  buffer->ring_next = 0;
  return true;
}

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

static bool begin_chunk(nag_buffer *buffer, int32_t more_open) {
  if (buffer->ring == NULL && !make_ring(buffer)) return false;
  uint8_t *chunk = buffer->ring + (uint64_t)buffer->ring_next * NAG_CHUNK_BYTES;
  buffer->ring_next = (buffer->ring_next + 1) % buffer->ring_chunks;
  if (!(nag_config.config.flags & NREC_FLAG_OVERWRITE)) write_chunk(buffer, chunk, false);
  nrec_chunk_header *header = (nrec_chunk_header *)chunk;
  __atomic_store_n(&header->magic, 0, __ATOMIC_SEQ_CST);
  uint32_t open = write_open(chunk, more_open);
  nag_chunk_begin(buffer, header, NAG_CHUNK_BYTES, open);
  if (nag_config.tracer->begin_chunk != NULL) nag_config.tracer->begin_chunk(buffer);
  buffer->chunk = chunk;
  return true;
}

bool nag_event_make_room(int32_t more_open) {
  nag_buffer *buffer = nag_thread_buffer();
  if (buffer == NULL) return false;
  if (buffer->chunk != NULL &&
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

// Writes the thread's chunks, the oldest first.
uint64_t nag_event_chunks_finish(nag_buffer *buffer) {
  if (buffer->ring == NULL) return 0;
  for (uint32_t i = 0; i < buffer->ring_chunks; i++) {
    uint32_t index = (buffer->ring_next + i) % buffer->ring_chunks;
    write_chunk(buffer, buffer->ring + (uint64_t)index * NAG_CHUNK_BYTES, true);
  }
  NAG_CALL(SYS_munmap, buffer->ring, (uint64_t)buffer->ring_chunks * NAG_CHUNK_BYTES);
  leave_place(nag_process_state, buffer->place);
  buffer->chunk = buffer->ring = NULL;
  return 0;
}
