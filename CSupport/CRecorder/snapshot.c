// SPDX-License-Identifier: Apache-2.0
//
// Copies the rings of a process while it runs (nrec_arena.h). While rings are held, chunks only get
// longer: what is before the end that a chunk's state names stays as it is. As everywhere, nothing in
// the arena is trusted: a size that does not fit is cut.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arena_internal.h"

bool nrc_arena_is_held(const nrc_arena *arena) {
  return arena->has_rings && __atomic_load_n(&arena->shared->is_held, __ATOMIC_SEQ_CST);
}

void nrc_arena_expect_rings(nrc_arena *arena) {
  if (arena->shared != NULL) arena->has_rings = true;
}

void nrc_arena_hold(nrc_arena *arena) {
  // Whoever frees chunks now is done with it once the lock is free.
  pthread_mutex_lock(&arena->lock);
  if (arena->has_rings) __atomic_store_n(&arena->shared->is_held, 1, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&arena->lock);
}

static uint32_t state_of(const nrec_request *one) {
  return __atomic_load_n(&one->state, __ATOMIC_SEQ_CST);
}

bool nrc_arena_release(nrc_arena *arena, bool gives_up) {
  if (!arena->has_rings) return true;
  nrec_arena *shared = arena->shared;
  for (int i = 0; gives_up && i < NREC_REQUESTS; i++) {
    uint32_t begun = NREC_REQUEST_BEGUN;
    __atomic_compare_exchange_n(&shared->requests[i].state, &begun, NREC_REQUEST_NONE, false,
                                __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
  }
  __atomic_store_n(&shared->is_held, 0, __ATOMIC_SEQ_CST);
  bool is_free = true;
  for (int i = 0; i < NREC_REQUESTS; i++)
    if (state_of(&shared->requests[i]) != NREC_REQUEST_NONE) is_free = false;
  if (!is_free) __atomic_store_n(&shared->is_held, 1, __ATOMIC_SEQ_CST);
  return is_free;
}

void nrc_arena_take_none(nrc_arena *arena) {
  if (arena->has_rings) __atomic_store_n(&arena->shared->takes_none, 1, __ATOMIC_SEQ_CST);
}

uint32_t nrc_arena_missed_requests(const nrc_arena *arena) {
  return arena->has_rings ? __atomic_load_n(&arena->shared->requests_missed, __ATOMIC_RELAXED) : 0;
}

bool nrc_arena_next_request(nrc_arena *arena, nrc_request *out) {
  for (int i = 0; arena->has_rings && i < NREC_REQUESTS; i++) {
    nrec_request *one = &arena->shared->requests[i];
    if (state_of(one) != NREC_REQUEST_MADE) continue;
    *out = (nrc_request){.place = one->place, .function = one->function, .thread = one->thread,
                         .spent = one->spent};
    memcpy(out->thread_name, one->thread_name, sizeof one->thread_name);
    __atomic_store_n(&one->state, NREC_REQUEST_NONE, __ATOMIC_SEQ_CST);
    return true;
  }
  return false;
}

// Bytes of an event; 0: it is none.
static size_t length_of(const uint8_t *event) {
  if (event[0] & 1) return event[0] & 2 ? 2 : 1;
  if (event[0] & 2) return 2;
  if (event[0] & 4) return 3;
  if (event[0] & 8) return 4;
  uint64_t word;
  memcpy(&word, event, sizeof word);
  switch (event[0]) {
    case NREC_EVENT_UNWOUND: return 4;
    case NREC_EVENT_SWITCH: return 8 + (word >> 8 & 0xffffff) * sizeof(uint32_t);
    case 0: return 0;
    default: return 8;
  }
}

static bool is_call(uint8_t first) {
  return first & 15 || first == NREC_EVENT_ENTRY || first == NREC_EVENT_EXIT_AT;
}

// Entries and exits in a chunk's copy, which has zeroes behind `used`.
static uint64_t count_events(const uint8_t *chunk, size_t used) {
  const nrec_chunk_header *header = (const nrec_chunk_header *)chunk;
  size_t at = sizeof *header + (size_t)header->open_functions * sizeof(uint32_t);
  uint64_t count = 0;
  for (size_t length; at < used && (length = length_of(chunk + at)) > 0; at += length)
    count += is_call(chunk[at]);
  return count;
}

// Copies what is in a chunk now; the bytes used, or 0: it was being begun.
static size_t copy_chunk(const uint8_t *chunk, uint8_t *copy) {
  const nrec_chunk_header *now = (const nrec_chunk_header *)chunk;
  nrec_chunk_header *header = (nrec_chunk_header *)copy;
  if (__atomic_load_n(&now->magic, __ATOMIC_ACQUIRE) != NREC_CHUNK_MAGIC) return 0;
  uint32_t sequence = __atomic_load_n(&now->sequence, __ATOMIC_RELAXED);
  uint64_t state = __atomic_load_n(&now->state, __ATOMIC_ACQUIRE);
  size_t used = state & 0xffff;
  if (used < sizeof *header) used = sizeof *header;
  memcpy(copy, chunk, used);
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  bool is_same = __atomic_load_n(&now->magic, __ATOMIC_RELAXED) == NREC_CHUNK_MAGIC &&
                 __atomic_load_n(&now->sequence, __ATOMIC_RELAXED) == sequence;
  if (!is_same || header->kind != NREC_CHUNK_EVENTS) return 0;
  header->state = state;
  return used;
}

static void fill_header(const nrc_arena *arena, uint32_t place, const nrc_copied *out,
                        double ticks_per_second, nrec_file_header *header) {
  const image *one = &arena->images[place];
  *header = nrec_arena_place(arena->shared, place)->header;
  header->process = one->process;
  header->parent = one->parent;
  header->incarnation = one->incarnation;
  header->start_realtime_nanoseconds = one->start_realtime;
  header->flags &= ~(uint32_t)NREC_FLAG_ENDED;
  header->next_offset = out->bytes;
  header->lost_chunks = one->lost_chunks;
  header->end_time = nrc_ticks() >> NREC_TIME_SHIFT;
  double ticks = (double)(header->end_time - header->start_time) * (1 << NREC_TIME_SHIFT);
  header->end_realtime_nanoseconds = one->start_realtime + (uint64_t)(ticks / ticks_per_second * 1e9);
}

static int copy_chunks(const nrc_arena *arena, uint32_t place, int file, uint8_t *copy,
                       nrc_copied *out) {
  for (uint32_t i = 0; i < arena->chunk_count; i++) {
    uint32_t owner = __atomic_load_n(
        &nrec_arena_entry(arena->shared, &arena->layout, i)->owner, __ATOMIC_ACQUIRE);
    if (owner != nrec_owner(place, NREC_OWNED) && owner != nrec_owner(place, NREC_FULL)) continue;
    size_t used = copy_chunk(nrec_arena_chunk_at(arena->shared, &arena->layout, i), copy);
    if (used == 0) continue;
    size_t bytes = (used + NREC_PAGE - 1) & ~(size_t)(NREC_PAGE - 1);
    memset(copy + used, 0, bytes + sizeof(uint64_t) - used);
    ((nrec_chunk_header *)copy)->size = (uint32_t)bytes;
    int error = nrc_arena_put(file, copy, bytes, out->bytes);
    if (error != 0) return error;
    out->bytes += bytes;
    out->events += count_events(copy, used);
  }
  return 0;
}

int nrc_arena_copy_rings(nrc_arena *arena, int place, int file, double ticks_per_second,
                         nrc_copied *out) {
  static const uint8_t page[NREC_PAGE];
  *out = (nrc_copied){.bytes = NREC_PAGE};
  uint8_t *copy = malloc(NREC_CHUNK_BYTES + sizeof(uint64_t));
  if (copy == NULL) return ENOMEM;
  int error = nrc_arena_put(file, page, sizeof page, 0);
  if (error == 0) error = copy_chunks(arena, (uint32_t)place, file, copy, out);
  free(copy);
  nrec_file_header header;
  fill_header(arena, (uint32_t)place, out, ticks_per_second, &header);
  out->is_begun = header.magic == NREC_FILE_MAGIC;
  if (error == 0) error = nrc_arena_put(file, &header, sizeof header, 0);
  return error;
}

uint64_t nrc_arena_lost_events(const nrc_arena *arena, int place) {
  return __atomic_load_n(
      &nrec_arena_place(arena->shared, (uint32_t)place)->header.lost_events, __ATOMIC_RELAXED);
}
