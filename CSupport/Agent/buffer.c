// SPDX-License-Identifier: Apache-2.0
//
// The buffers: chunks of 64 KiB in a shared mapping of the process's event file.
//
//   event file   | header | window | window | …       a window is one mapping, of one thread
//   window       | chunk | chunk | …                  the first is small: many threads are short
//
// Space is allocated before it is mapped: a hole in a full file system would be a SIGBUS at a
// store, a file-size limit a SIGXFSZ. Everything here runs with signals blocked.

#include <sys/resource.h>

#include "agent.h"
#include "syscalls.h"

enum { FIRST_WINDOW = NAG_CHUNK_BYTES };  // doubled four times, up to 1 MiB

static bool exceeds_limit(uint64_t end) {
  struct rlimit limit;
  if (NAG_CALL(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, &limit) != 0) return false;
  return end > limit.rlim_cur;
}

uint8_t *nag_map_file(size_t bytes, uint64_t *offset) {
  nag_process *process = nag_process_state;
  if (process->header->flags & NREC_FLAG_FULL) return NULL;
  *offset = __atomic_fetch_add(&process->header->next_offset, bytes, __ATOMIC_RELAXED);
  int64_t status = exceeds_limit(*offset + bytes)
                       ? -EFBIG
                       : NAG_CALL(SYS_fallocate, process->events, 0, *offset, bytes);
  if (status == -EOPNOTSUPP) status = NAG_CALL(SYS_ftruncate, process->events, *offset + bytes);
  uint8_t *memory = status != 0 ? NULL
                                : nag_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                                           process->events, *offset);
  if (memory == NULL) {
    __atomic_or_fetch(&process->header->flags, NREC_FLAG_FULL, __ATOMIC_RELAXED);
    return NULL;
  }
  // One call instead of a fault a page; where the kernel has it not, the faults come.
  NAG_CALL(SYS_madvise, memory, bytes, 23 /* MADV_POPULATE_WRITE, Linux 5.14 */);
  return memory;
}

static void read_name(char name[16]) {
  int64_t file = NAG_CALL(SYS_open, "/proc/thread-self/comm", O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return;
  int64_t length = NAG_CALL(SYS_read, file, name, 15);
  NAG_CALL(SYS_close, file);
  if (length > 0 && name[length - 1] == '\n') name[length - 1] = 0;
}

uint8_t *nag_map_chunk(nag_buffer *buffer, uint32_t kind, size_t bytes) {
  uint64_t offset;
  bytes = (bytes + sizeof(nrec_chunk_header) + NREC_PAGE - 1) & ~(size_t)(NREC_PAGE - 1);
  nrec_chunk_header *header = (nrec_chunk_header *)nag_map_file(bytes, &offset);
  if (header == NULL) return NULL;
  nrec_chunk_header filled = {
    .magic = NREC_CHUNK_MAGIC, .size = (uint32_t)bytes, .thread = buffer->thread,
    .thread_serial = buffer->serial, .sequence = buffer->sequence++, .kind = kind,
    .base_time = nag_time(),
  };
  read_name(filled.thread_name);
  *header = filled;
  return (uint8_t *)(header + 1);
}

static void unmap(uint8_t *start, uint8_t *end) {
  if (start != NULL) NAG_CALL(SYS_munmap, start, end - start);
}

static bool next_window(nag_buffer *buffer) {
  size_t bytes = (size_t)FIRST_WINDOW << (buffer->windows < 4 ? buffer->windows : 4);
  bool overwrites = nag_config.config.flags & NREC_FLAG_OVERWRITE;
  if (overwrites && buffer->windows > 0) {  // round and round in the window there is
    buffer->next_chunk = buffer->window;
    return true;
  }
  if (overwrites) bytes = (nag_config.config.overwrite_bytes + NAG_CHUNK_BYTES - 1) &
                          ~(uint64_t)(NAG_CHUNK_BYTES - 1);
  uint8_t *window = nag_map_file(bytes, &buffer->window_offset);
  if (window == NULL) return false;
  // A signal handler may have interrupted a store into the window before this one.
  unmap(buffer->old_window, buffer->old_window_end);
  buffer->old_window = buffer->window;
  buffer->old_window_end = buffer->window_end;
  buffer->window = buffer->next_chunk = window;
  buffer->window_end = window + bytes;
  buffer->windows++;
  return true;
}

static void close_chunk(nag_buffer *buffer) {
  if (buffer->chunk == NULL) return;
  nrec_chunk_header *header = (nrec_chunk_header *)buffer->chunk;
  uint32_t used = (uint32_t)(buffer->state & 0xffff);
  if (used >= NAG_CHUNK_HEADER) header->used = used;
}

// The functions that are open now stand at the chunk's head, so that it can be read alone.
static uint32_t write_open(uint8_t *chunk) {
  uint32_t depth = nag_shadow_depth();
  const uint32_t most = NAG_CHUNK_BYTES / 4 / sizeof(uint32_t);
  if (depth > most) depth = most;
  const nag_slot *slot = nag_self.top - depth;
  uint32_t *numbers = (uint32_t *)(chunk + sizeof(nrec_chunk_header));
  for (uint32_t i = 0; i < depth; i++) numbers[i] = slot[i].function;
  return depth;
}

static bool begin_chunk(nag_buffer *buffer) {
  close_chunk(buffer);
  if (buffer->next_chunk == buffer->window_end && !next_window(buffer)) return false;
  uint8_t *chunk = buffer->next_chunk;
  buffer->next_chunk += NAG_CHUNK_BYTES;
  nrec_chunk_header *header = (nrec_chunk_header *)chunk;
  if (header->magic == NREC_CHUNK_MAGIC) {  // overwritten: readers see no half of each
    __atomic_store_n(&header->magic, 0, __ATOMIC_SEQ_CST);
    nag_zero(chunk, NAG_CHUNK_BYTES);
  }
  uint64_t time = nag_time();
  uint32_t open = write_open(chunk);
  nrec_chunk_header filled = {
    .magic = NREC_CHUNK_MAGIC, .size = NAG_CHUNK_BYTES, .thread = buffer->thread,
    .thread_serial = buffer->serial, .sequence = buffer->sequence++, .kind = NREC_CHUNK_EVENTS,
    .open_functions = open, .base_time = time, .lost_events = buffer->lost,
  };
  read_name(filled.thread_name);
  *header = filled;
  buffer->chunk = chunk;
  buffer->state = time << 16 | (sizeof *header + open * sizeof(uint32_t));
  return true;
}

bool nag_buffer_make_room(void) {
  nag_buffer *buffer = nag_thread_buffer();
  if (buffer == NULL) return false;
  uint32_t offset = (uint32_t)(buffer->state & 0xffff);
  if (offset >= NAG_CHUNK_HEADER && offset <= NAG_CHUNK_BYTES - NAG_CHUNK_SLACK) return true;
  if (begin_chunk(buffer)) return true;
  buffer->lost++;
  __atomic_add_fetch(&nag_process_state->header->lost_events, 1, __ATOMIC_RELAXED);
  return false;
}

uint64_t nag_buffer_mark(void) {
  return nag_buffer_make_room() ? nag_self.buffer->state : 0;
}

// A chunk of counters, by the address of what stands behind its header.
static void unmap_chunk(const void *contents) {
  if (contents == NULL) return;
  nrec_chunk_header *header = (nrec_chunk_header *)contents - 1;
  NAG_CALL(SYS_munmap, header, header->size);
}

// What a thread did not use of its last window goes back, where that window ends the file.
static void give_back(nag_buffer *buffer) {
  nag_process *process = nag_process_state;
  if (buffer->window == NULL || process->header == NULL) return;
  uint64_t end = buffer->window_offset + (uint64_t)(buffer->window_end - buffer->window);
  uint64_t used = (uint64_t)(buffer->chunk - buffer->window) + (buffer->state & 0xffff);
  uint64_t kept = buffer->window_offset + ((used + NREC_PAGE - 1) & ~(uint64_t)(NREC_PAGE - 1));
  if (nag_config.config.flags & NREC_FLAG_OVERWRITE || buffer->chunk == NULL) return;
  // The chunk's size is what is left of it, so that the next one is found.
  ((nrec_chunk_header *)buffer->chunk)->size =
      (uint32_t)(kept - buffer->window_offset - (uint64_t)(buffer->chunk - buffer->window));
  if (__atomic_compare_exchange_n(&process->header->next_offset, &end, kept, false,
                                  __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    NAG_CALL(SYS_ftruncate, process->events, kept);
}

void nag_buffer_finish(nag_buffer *buffer) {
  if (buffer->thread == 0) return;  // wiped: a forked child that recorded nothing
  close_chunk(buffer);
  give_back(buffer);
  unmap(buffer->old_window, buffer->old_window_end);
  unmap(buffer->window, buffer->window_end);
  unmap_chunk(buffer->counts);
  unmap_chunk(buffer->profile);
  nag_tree_release(buffer);
  buffer->chunk = buffer->window = buffer->old_window = NULL;
  buffer->state = 0;
}

// --- events, in every form: the slow paths -------------------------------------------------------------

// Appends `bytes` (8 at most) of `word`, whose time has been written as a delta. Signals are blocked.
static void append(uint64_t word, uint32_t bytes, uint64_t time) {
  nag_buffer *buffer = nag_self.buffer;
  uint64_t offset = buffer->state & 0xffff;
  __builtin_memcpy(buffer->chunk + offset, &word, 8);
  buffer->state = time << 16 | (offset + bytes);
}

// The time since the last event, in 48 bits; first a TIME event where it is longer than `most`.
static uint64_t delta_of(uint64_t time, uint64_t most) {
  uint64_t last = nag_self.buffer->state >> 16;
  uint64_t delta = (time - last) & 0xffffffffffff;
  if (delta >> 47) delta = 0;  // a TSC that is behind another CPU's
  if (delta <= most) return delta;
  append(delta << 8 | 0x10, 8, time);
  return 0;
}

void nag_event_entry(uint32_t function, uint64_t time) {
  if (!nag_buffer_make_room()) return;
  uint64_t delta = delta_of(time, 0xffffff);
  append((uint64_t)function << 32 | delta << 8 | 0x08, 8, time);
}

void nag_event_exit(uint64_t time) {
  if (!nag_buffer_make_room()) return;
  uint64_t delta = delta_of(time, 16383);
  append(delta << 2 | 3, 2, time);
}

void nag_event_parent(uint64_t address) {
  if (!nag_buffer_make_room()) return;
  append((address & 0xffffffffffff) << 8 | 0x30, 8, nag_self.buffer->state >> 16);
}

void nag_event_unwound(uint32_t count) {
  if (!nag_buffer_make_room()) return;
  append((uint64_t)(count & 0xffffff) << 8 | 0x18, 4, nag_self.buffer->state >> 16);
}

void nag_event_exit_at(uint32_t depth, uint64_t time) {
  if (!nag_buffer_make_room()) return;
  uint64_t delta = delta_of(time, 0xffffff);
  append((uint64_t)depth << 32 | delta << 8 | 0x20, 8, time);
}
