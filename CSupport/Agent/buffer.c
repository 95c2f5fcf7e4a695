// SPDX-License-Identifier: Apache-2.0
//
// The buffers. Each thread has two chunks of 64 KiB in a memory file that the recorder holds too:
//
//   current    events go here
//   previous   full; written to the event file when the current one is full too
//
// The same pages are used again and again, so the hot path meets no page fault, and the file grows
// by what was recorded and nothing else. After SIGKILL the recorder finds in the memory file what had
// not been written. `previous` waits one turn because a signal handler may have interrupted a
// store into it.
//
// Flight recorder: a ring of chunks as large as was asked for, written at the end.
//
// Everything here runs with signals blocked.

#include <sys/prctl.h>
#include <sys/resource.h>

#include "agent.h"
#include "syscalls.h"

enum { SLOW_WRITE_NANOSECONDS = 1000000 };

bool nag_exceeds_limit(uint64_t end) {
  struct rlimit limit;
  if (NAG_CALL(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, &limit) != 0) return false;
  return end > limit.rlim_cur;
}

// What a file system without fallocate has instead: zeroes, which take their space at once.
static int64_t write_zeroes(int file, uint64_t offset, uint64_t bytes) {
  static const uint8_t zeroes[NREC_PAGE];
  while (bytes > 0) {
    uint64_t part = bytes < sizeof zeroes ? bytes : sizeof zeroes;
    int64_t wrote = NAG_CALL(SYS_pwrite64, file, zeroes, part, offset);
    if (wrote == -EINTR) continue;
    if (wrote <= 0) return wrote < 0 ? wrote : -ENOSPC;
    offset += (uint64_t)wrote;
    bytes -= (uint64_t)wrote;
  }
  return 0;
}

bool nag_make_space(int file, uint64_t offset, uint64_t bytes) {
  if (nag_exceeds_limit(offset + bytes)) return false;
  int64_t status;
  do status = NAG_CALL(SYS_fallocate, file, 0, offset, bytes);
  while (status == -EINTR);
  if (status == -EOPNOTSUPP || status == -ENOSYS) status = write_zeroes(file, offset, bytes);
  return status == 0;
}

static uint64_t now(void) {
  struct timespec time = {0};
  NAG_CALL(SYS_clock_gettime, 1 /* CLOCK_MONOTONIC */, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void is_full(nag_process *process) {
  __atomic_or_fetch(&process->header->flags, NREC_FLAG_FULL, __ATOMIC_RELAXED);
}

static uint64_t round_up(uint64_t bytes) {
  return (bytes + NREC_PAGE - 1) & ~(uint64_t)(NREC_PAGE - 1);
}

// The magic last: killed in between, there is no chunk.
static void fill_header(nag_buffer *buffer, nrec_chunk_header *header, uint32_t kind,
                        uint32_t bytes, uint32_t open) {
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

// --- chunks of counters: mapped from the event file ----------------------------------------------

static uint8_t *map_file(size_t bytes) {
  nag_process *process = nag_process_state;
  if (process->header->flags & NREC_FLAG_FULL) return NULL;
  uint64_t offset = __atomic_fetch_add(&process->header->next_offset, bytes, __ATOMIC_RELAXED);
  uint8_t *memory = NULL;
  if (nag_make_space(process->events, offset, bytes))
    memory = nag_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, process->events, offset);
  if (memory == NULL) is_full(process);
  return memory;
}

uint8_t *nag_map_chunk(nag_buffer *buffer, uint32_t kind, size_t bytes) {
  bytes = round_up(bytes + sizeof(nrec_chunk_header));
  nrec_chunk_header *header = (nrec_chunk_header *)map_file(bytes);
  if (header == NULL) return NULL;
  fill_header(buffer, header, kind, (uint32_t)bytes, 0);
  return (uint8_t *)(header + 1);
}

static void unmap_chunk(const void *contents) {
  if (contents == NULL) return;
  nrec_chunk_header *header = (nrec_chunk_header *)contents - 1;
  NAG_CALL(SYS_munmap, header, header->size);
}

// --- chunks of events ----------------------------------------------------------------------------

// Appends a closed chunk to the event file. It is marked as written last: killed in between, it is
// written twice, and readers know it by its sequence.
static void write_chunk(nag_buffer *buffer, uint8_t *chunk, bool is_last) {
  nag_process *process = nag_process_state;
  nrec_chunk_header *header = (nrec_chunk_header *)chunk;
  if (header->magic != NREC_CHUNK_MAGIC) return;
  uint64_t bytes = round_up(header->state & 0xffff), done = 0, began = now();
  header->size = (uint32_t)bytes;
  bool has_place = !(process->header->flags & NREC_FLAG_FULL);
  uint64_t offset =
      has_place ? __atomic_fetch_add(&process->header->next_offset, bytes, __ATOMIC_RELAXED) : 0;
  bool fits = has_place && !nag_exceeds_limit(offset + bytes);
  while (fits && done < bytes) {
    int64_t wrote = NAG_CALL(SYS_pwrite64, process->events, chunk + done, bytes - done,
                             offset + done);
    // The program has closed what it did not know. The recorder has both files too: what lies in the
    // memory file at the end is written there.
    if (wrote == -EBADF && is_last) return;
    if (wrote <= 0) fits = false;
    else done += (uint64_t)wrote;
  }
  if (!fits) {
    const uint32_t none = 0;  // half a chunk is none
    if (done > 0) NAG_CALL(SYS_pwrite64, process->events, &none, sizeof none, offset);
    is_full(process);
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

// A part of the memory file that no other thread has; false: all are taken.
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

// A thread's part of the memory file: so many chunks.
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

// The functions that are open now stand at the chunk's head, so that it can be read alone.
// Of too many, the innermost.
static uint32_t write_open(uint8_t *chunk, int32_t more_open) {
  const uint32_t most = NAG_CHUNK_BYTES / 4 / sizeof(uint32_t);
  // A call beyond the deepest slot is no frame of the shadow stack.
  if (nag_self.top + more_open > nag_self.end) more_open = 0;
  int64_t open = (int64_t)nag_shadow_depth() + more_open;
  uint32_t depth = open < 0 ? 0 : open > most ? most : (uint32_t)open;
  const nag_slot *slot = nag_self.top + more_open - depth;
  uint32_t *numbers = (uint32_t *)(chunk + sizeof(nrec_chunk_header)), count = 0;
  for (uint32_t i = 0; i < depth; i++) {
    bool is_closed = slot[i].stack == NAG_STACK_FREE && &slot[i] < nag_self.top;  // out of order
    if (!is_closed) numbers[count++] = slot[i].function;
  }
  return count;
}

size_t nag_buffer_bytes(void) {
  bool has_pairs = nag_config.config.tracer == NREC_TRACER_FUNCTION;
  return has_pairs ? sizeof(nag_buffer) : offsetof(nag_buffer, callers);
}

// What an earlier chunk has told is not known in this one. Where the numbers begin again, all is
// forgotten.
static void begin_epoch(nag_buffer *buffer) {
  if (nag_config.config.tracer != NREC_TRACER_FUNCTION) return;
  buffer->epoch = (buffer->epoch + 1) & 0xffff;
  if (buffer->epoch == 0) nag_zero(buffer->callers, sizeof buffer->callers);
}

static bool begin_chunk(nag_buffer *buffer, int32_t more_open) {
  if (buffer->ring == NULL && !make_ring(buffer)) return false;
  uint8_t *chunk = buffer->ring + (uint64_t)buffer->ring_next * NAG_CHUNK_BYTES;
  buffer->ring_next = (buffer->ring_next + 1) % buffer->ring_chunks;
  if (!(nag_config.config.flags & NREC_FLAG_OVERWRITE)) write_chunk(buffer, chunk, false);
  nrec_chunk_header *header = (nrec_chunk_header *)chunk;
  __atomic_store_n(&header->magic, 0, __ATOMIC_SEQ_CST);
  uint32_t open = write_open(chunk, more_open);
  fill_header(buffer, header, NREC_CHUNK_EVENTS, NAG_CHUNK_BYTES, open);
  begin_epoch(buffer);
  buffer->chunk = chunk;
  return true;
}

bool nag_buffer_make_room(int32_t more_open) {
  nag_buffer *buffer = nag_thread_buffer();
  if (buffer == NULL) return false;
  if (buffer->chunk != NULL &&
      (*nag_state(buffer) & 0xffff) <= NAG_CHUNK_BYTES - NAG_CHUNK_SLACK)
    return true;
  if (begin_chunk(buffer, more_open)) return true;
  buffer->lost++;
  __atomic_add_fetch(&nag_process_state->header->lost_events, 1, __ATOMIC_RELAXED);
  return false;
}

uint64_t nag_buffer_mark(void) {
  return nag_buffer_make_room(-1) ? *nag_state(nag_self.buffer) : 0;
}

static void finish_ring(nag_buffer *buffer) {
  nag_process *process = nag_process_state;
  if (buffer->ring == NULL) return;
  // The oldest first.
  for (uint32_t i = 0; i < buffer->ring_chunks; i++) {
    uint32_t index = (buffer->ring_next + i) % buffer->ring_chunks;
    write_chunk(buffer, buffer->ring + (uint64_t)index * NAG_CHUNK_BYTES, true);
  }
  NAG_CALL(SYS_munmap, buffer->ring, (uint64_t)buffer->ring_chunks * NAG_CHUNK_BYTES);
  leave_place(process, buffer->place);
}

// For who wants only the sum: the tracers that write no events.
static void sum_calls(const nag_buffer *buffer) {
  uint64_t calls = nag_tree_calls(buffer);
  for (uint64_t i = 0; i < buffer->counted; i++) calls += buffer->counts[i];
  for (uint64_t i = 0; i < buffer->profiled; i++) calls += buffer->profile[i].calls;
  __atomic_add_fetch(&nag_process_state->header->calls, calls, __ATOMIC_RELAXED);
}

void nag_buffer_finish(nag_buffer *buffer) {
  if (buffer->thread == 0) return;  // wiped: a forked child that recorded nothing
  finish_ring(buffer);
  sum_calls(buffer);
  unmap_chunk(buffer->counts);
  unmap_chunk(buffer->profile);
  nag_tree_release(buffer);
  buffer->chunk = buffer->ring = NULL;
}
