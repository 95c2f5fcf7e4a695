// SPDX-License-Identifier: Apache-2.0
//
// Goes through the arena's table: appends full chunks to event files, and collects messages and claims.
//
// What is in the arena is untrusted input. Where a chunk goes, and how much was written before it,
// the recorder keeps to itself; no offset or pointer in the arena is followed, every size is
// bounded by what the table says.

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arena_internal.h"

enum { MOST_POSTPONED = 1000 };

// --- files --------------------------------------------------------------------------------------

int nrc_arena_put(int file, const void *bytes, size_t size, uint64_t offset) {
  for (size_t done = 0; done < size;) {
    ssize_t wrote = pwrite(file, (const char *)bytes + done, size - done, (off_t)(offset + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return wrote < 0 ? errno : ENOSPC;
    done += (size_t)wrote;
  }
  return 0;
}

void nrc_arena_put_header(nrc_arena *arena, uint32_t place) {
  image *one = &arena->images[place];
  nrec_file_header header = nrec_arena_place(arena->shared, place)->header;
  if (header.magic != NREC_FILE_MAGIC) return;
  header.process = one->process;
  header.parent = one->parent;
  header.incarnation = one->incarnation;
  header.start_realtime_nanoseconds = one->start_realtime;
  header.next_offset = one->end;
  header.lost_chunks = one->lost_chunks;
  if (one->is_full) header.flags |= NREC_FLAG_FULL;
  if (nrc_arena_put(one->events, &header, sizeof header, 0) == 0) one->is_begun = true;
  one->is_changed = false;
}

// --- chunks -------------------------------------------------------------------------------------

static uint32_t owner_of(const nrc_arena *arena, uint32_t index) {
  return __atomic_load_n(&nrec_arena_entry(arena->shared, &arena->layout, index)->owner, __ATOMIC_ACQUIRE);
}

void nrc_arena_set_free(nrc_arena *arena, uint32_t index) {
  __atomic_store_n(&nrec_arena_entry(arena->shared, &arena->layout, index)->owner, 0, __ATOMIC_RELEASE);
}

static size_t whole_pages(size_t bytes) {
  return (bytes + NREC_PAGE - 1) & ~(size_t)(NREC_PAGE - 1);
}

// How many entries the chunk at `index` has, if it says that it has so many bytes.
static uint32_t entries_of(const nrc_arena *arena, uint32_t index, uint32_t place, size_t bytes) {
  uint32_t count = 1;
  while ((uint64_t)count * NREC_CHUNK_BYTES < bytes && index + count < arena->chunk_count &&
         owner_of(arena, index + count) == nrec_owner(place, NREC_KEPT))
    count++;
  return count;
}

// --- messages and claims ------------------------------------------------------------------------

static void tell(nrc_arena *arena, waiting *one) {
  one->next = NULL;
  *arena->last = one;
  arena->last = &one->next;
  arena->has_news = true;
}

// Those whose turn it is now.
static void tell_in_order(nrc_arena *arena, image *one) {
  for (waiting **at = &one->later; *at != NULL;) {
    if ((*at)->sequence != one->next_mail) {
      at = &(*at)->next;
      continue;
    }
    waiting *next = *at;
    *at = next->next;
    one->next_mail++;
    tell(arena, next);
    at = &one->later;
  }
}

static void read_mail(nrc_arena *arena, uint32_t place, const uint8_t *chunk,
                      const nrec_chunk_header *header) {
  uint32_t size = header->size > NREC_CHUNK_BYTES ? NREC_CHUNK_BYTES : header->size;
  if (size < sizeof *header) size = sizeof *header;
  size -= sizeof *header;
  waiting *one = malloc(sizeof *one + size);
  if (one == NULL) return;  // its process gets no answer in time, and goes on
  memcpy(one->bytes, chunk + sizeof *header, size);
  one->place = place;
  one->sequence = header->sequence;
  one->event = (nrc_arena_event){.place = (int)place, .bytes = one->bytes, .size = size};
  image *its = &arena->images[place];
  one->next = its->later;
  its->later = one;
  tell_in_order(arena, its);
}

static bool is_filled(const nrec_arena_process *place) {
  return __atomic_load_n(&place->header.magic, __ATOMIC_ACQUIRE) == NREC_FILE_MAGIC;
}

// The place that was claimed with the lowest image number, of those that the recorder was not told of;
// -1: there is none.
static int64_t next_claim(const nrc_arena *arena) {
  int64_t found = -1;
  uint32_t lowest = UINT32_MAX;
  for (uint32_t i = 0; i < arena->place_count; i++) {
    const nrec_arena_process *place = nrec_arena_place(arena->shared, i);
    const image *one = &arena->images[i];
    if (__atomic_load_n(&place->state, __ATOMIC_ACQUIRE) != NREC_PLACE_CLAIMED || one->is_claimed ||
        one->is_used || !is_filled(place) || place->image >= lowest)
      continue;
    found = i;
    lowest = place->image;
  }
  return found;
}

// Whether the process that a claim is a copy of is about to claim a place itself.
static bool has_parent_coming(const nrc_arena *arena, uint32_t copied) {
  for (uint32_t i = 0; i < arena->place_count; i++) {
    const nrec_arena_process *place = nrec_arena_place(arena->shared, i);
    if (__atomic_load_n(&place->state, __ATOMIC_ACQUIRE) == NREC_PLACE_CLAIMED &&
        place->image == copied && !is_filled(place))
      return true;
  }
  return false;
}

// Parents first: the recorder knows a copy's modules by its parent. A parent has a lower image number
// than its children, and not always a lower place.
void nrc_arena_find_claims(nrc_arena *arena) {
  uint32_t claims = __atomic_load_n(&arena->shared->claims, __ATOMIC_SEQ_CST);
  if (claims == arena->seen_claims) return;
  for (int64_t i; (i = next_claim(arena)) >= 0;) {
    nrec_arena_process *place = nrec_arena_place(arena->shared, (uint32_t)i);
    // Then the claims are looked at again. The parent may have been killed meanwhile.
    if (has_parent_coming(arena, place->copied) && arena->postponed++ < MOST_POSTPONED) return;
    arena->postponed = 0;
    waiting *claim = calloc(1, sizeof *claim);
    if (claim == NULL) return;
    claim->event = (nrc_arena_event){
      .place = (int)i, .is_claim = true, .image = place->image, .copied = place->copied,
      .thread = place->thread, .time = place->header.start_time,
    };
    arena->images[i] = (image){.is_claimed = true, .end = NREC_PAGE, .events = -1};
    if (i >= arena->place_end) arena->place_end = (uint32_t)i + 1;
    tell(arena, claim);
  }
  arena->seen_claims = claims;
}

// Appends a chunk to its event file, and frees it. The agent has finished with it.
static void take_over(nrc_arena *arena, uint32_t index, uint32_t place) {
  image *one = &arena->images[place];
  uint8_t *chunk = nrec_arena_chunk_at(arena->shared, &arena->layout, index);
  nrec_chunk_header header;
  memcpy(&header, chunk, sizeof header);
  if (header.kind == NREC_CHUNK_MESSAGES) {
    if (header.magic == NREC_CHUNK_MAGIC) read_mail(arena, place, chunk, &header);
    return nrc_arena_set_free(arena, index);
  }
  bool has_events = header.kind == NREC_CHUNK_EVENTS;
  size_t used = has_events ? header.state & 0xffff : header.size;
  if (used < sizeof header) used = sizeof header;
  uint32_t entries = has_events ? 1 : entries_of(arena, index, place, used);
  size_t room = (size_t)entries * NREC_CHUNK_BYTES;
  if (used > room) used = room;
  size_t bytes = whole_pages(used);
  if (header.magic == NREC_CHUNK_MAGIC) {
    header.size = (uint32_t)bytes;
    memcpy(chunk, &header, sizeof header);
    memset(chunk + used, 0, bytes - used);
    int error = one->is_full ? ENOSPC : nrc_arena_put(one->events, chunk, bytes, one->end);
    if (error == 0) {
      one->end += bytes;
    } else {
      if (one->error == 0) one->error = error;
      // Half a chunk does not count.
      if (!one->is_full && ftruncate(one->events, (off_t)one->end) != 0) one->error = errno;
      one->is_full = true;
      one->lost_chunks++;
      __atomic_or_fetch(&nrec_arena_place(arena->shared, place)->header.flags, NREC_FLAG_FULL,
                        __ATOMIC_RELAXED);
    }
    one->is_changed = true;
  }
  // The first one last: a search that meets it free finds its neighbours free.
  while (entries-- > 0) nrc_arena_set_free(arena, index + entries);
}

static bool is_of_ring(const nrc_arena *arena, uint32_t index) {
  const uint8_t *chunk = nrec_arena_chunk_at(arena->shared, &arena->layout, index);
  return ((const nrec_chunk_header *)chunk)->kind == NREC_CHUNK_EVENTS;
}

swept nrc_arena_sweep(nrc_arena *arena, int64_t leaving) {
  swept result = {0, 0};
  for (uint32_t i = 0; i < arena->chunk_count; i++) {
    uint32_t owner = owner_of(arena, i), place = (owner & 0xffff) - 1, state = owner >> 16;
    bool is_known = owner != 0 && place < arena->place_count && arena->images[place].is_used;
    // A claim that the recorder has not seen yet, or has not made a file for.
    bool is_early = owner != 0 && !is_known && place < arena->place_count &&
                    nrec_arena_place(arena->shared, place)->state == NREC_PLACE_CLAIMED;
    if (is_early) continue;
    if (is_known && place != leaving && state == NREC_FULL && nrc_arena_is_held(arena) &&
        is_of_ring(arena, i))
      continue;
    if (is_known && (state == NREC_FULL || (state == NREC_OWNED && place == leaving))) {
      take_over(arena, i, place);
      result.freed++;
    } else if (owner != 0 && (!is_known || place == leaving)) {
      nrc_arena_set_free(arena, i);
      result.freed++;
    }
    result.free += owner_of(arena, i) == 0;
  }
  for (uint32_t i = 0; i < arena->place_end; i++)
    if (arena->images[i].is_used && (arena->images[i].is_changed || !arena->images[i].is_begun))
      nrc_arena_put_header(arena, i);
  return result;
}
