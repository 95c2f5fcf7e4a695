// SPDX-License-Identifier: Apache-2.0
//
// The agent's end of the arena (nrec_arena.h): takes chunks, and hands them to the recorder.
//
// The program waits here where no chunk is free, because the disk is slower than the program. A
// wait ends when the recorder has ended, and at the latest after some seconds.

#define _GNU_SOURCE
#include <sys/resource.h>

#include "agent.h"
#include "syscalls.h"

enum { WAIT_SECONDS = 10, LOOK_NANOSECONDS = 10000000, SPINS = 200 };
static const uint64_t FAR = 64ull << 30;
static uint64_t mapped_bytes;  // of the arena
enum { SLOWNESS = 1000 };  // of a wait that is counted: a thousandth of a second

// How much may be mapped. Where address space is limited, most of it is the program's.
static uint64_t window(uint64_t wanted) {
  struct rlimit limit;
  if (NAG_CALL(SYS_prlimit64, 0, RLIMIT_AS, 0, &limit) != 0) return wanted;
  return limit.rlim_cur / 8 < wanted ? limit.rlim_cur / 8 : wanted;
}

static bool is_sound(const nrec_arena *arena, uint64_t bytes) {
  const nrec_arena_layout *layout = &arena->layout;
  return arena->magic == NREC_ARENA_MAGIC && layout->processes <= NREC_ARENA_PROCESSES &&
         layout->chunks <= NREC_ARENA_CHUNKS && layout->data <= bytes &&
         layout->table >= NREC_PAGE + layout->processes * sizeof(nrec_arena_process) &&
         layout->data >= layout->table + layout->chunks * sizeof(nrec_arena_chunk);
}

// Far below the libraries: relays need space within 2 GiB of a library's text, and the trampolines'
// range takes as much as this already. A hint only: where something is there, the kernel chooses.
static void *far_below(void) {
  return (void *)(((uintptr_t)far_below & ~(uintptr_t)(NREC_PAGE - 1)) - FAR);
}

// What of it the recorder has not allocated is not there yet: no store goes there.
int nag_arena_map(int file) {
  uint64_t there = nag_file_bytes(file);
  int error = there < 2 * NREC_PAGE ? EPROTO : nag_check_sealed(file, there, F_SEAL_SHRINK);
  if (error != 0) return error;
  const nrec_arena_layout most = nrec_arena_plan(UINT64_MAX);
  uint64_t bytes = nag_whole_pages(window(nrec_arena_bytes(&most)));
  // Of an earlier recording of this process: nothing uses it any more (session.c).
  if (nag_config.arena != NULL) NAG_CALL(SYS_munmap, nag_config.arena, mapped_bytes);
  nag_config.arena = NULL;
  nrec_arena *arena =
      nag_mmap(far_below(), bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  if (arena == NULL) return ENOMEM;
  if (!is_sound(arena, bytes < there ? bytes : there)) {
    NAG_CALL(SYS_munmap, arena, bytes);
    return EPROTO;
  }
  NAG_CALL(SYS_madvise, arena, bytes, 16 /* MADV_DONTDUMP */);
  nrec_arena_layout *layout = &nag_config.layout;
  *layout = arena->layout;
  uint64_t mapped = (bytes - layout->data) / NREC_CHUNK_BYTES;
  if (mapped < layout->chunks) layout->chunks = (uint32_t)mapped;
  nag_config.arena = arena;
  mapped_bytes = bytes;
  return 0;
}

static nrec_arena_chunk *entry(uint32_t index) {
  return nrec_arena_entry(nag_config.arena, &nag_config.layout, index);
}

static uint32_t own(uint32_t state) { return nrec_owner(nag_process_state->place, state); }

static void set_owner(uint32_t index, uint32_t owner) {
  __atomic_store_n(&entry(index)->owner, owner, __ATOMIC_RELEASE);
}

static void wake(uint32_t *word) {
  if (!nag_is_confined) NAG_CALL(SYS_futex, word, FUTEX_WAKE, INT32_MAX);
}

// Has the recorder look at the table now.
void nag_arena_ring(void) {
  nrec_arena *arena = nag_config.arena;
  __atomic_add_fetch(&arena->bell, 1, __ATOMIC_SEQ_CST);
  if (!nag_is_confined && __atomic_exchange_n(&arena->sleeps, 0, __ATOMIC_SEQ_CST))
    wake(&arena->bell);
}

static void tell_freed(void) {
  nrec_arena *arena = nag_config.arena;
  __atomic_store_n(&arena->is_stuck, 0, __ATOMIC_RELAXED);
  __atomic_add_fetch(&arena->freed, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&arena->waiters, __ATOMIC_SEQ_CST)) wake(&arena->freed);
}

// Takes `count` free neighbours, the first that there are. -1: there are none.
static int64_t take_free(uint32_t count) {
  nrec_arena *arena = nag_config.arena;
  uint32_t end = __atomic_load_n(&arena->chunk_count, __ATOMIC_ACQUIRE), taken = 0;
  if (end > nag_config.layout.chunks) end = nag_config.layout.chunks;
  for (uint32_t i = 0; i < end; i++) {
    uint32_t *owner = &entry(i)->owner, none = 0;
    // Only the first of several is a chunk.
    uint32_t wanted = own(taken == 0 ? NREC_OWNED : NREC_KEPT);
    if (__atomic_load_n(owner, __ATOMIC_RELAXED) == 0 &&
        __atomic_compare_exchange_n(owner, &none, wanted, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED)) {
      if (++taken == count) return i + 1 - count;
    } else {
      while (taken > 0) set_owner(i - taken--, 0);
    }
  }
  while (taken > 0) set_owner(end - taken--, 0);
  return -1;
}

static bool is_over(void) {
  nrec_arena *arena = nag_config.arena;
  return __atomic_load_n(&arena->is_closed, __ATOMIC_RELAXED) || nrec_is_dead(arena);
}

// Nothing will become free. Under the flight recorder no thread hands a chunk over while it runs,
// and neighbours seldom become free together. Places do.
static bool is_vain(uint32_t count) {
  bool needs_more = count > 1 || (count == 1 && nag_config.config.flags & NREC_FLAG_OVERWRITE);
  return is_over() || (needs_more && nag_arena_is_full());
}

static void ask_for(uint32_t count) {
  uint32_t *wanted = &nag_config.arena->wanted, seen = __atomic_load_n(wanted, __ATOMIC_RELAXED);
  while (seen < count && !__atomic_compare_exchange_n(wanted, &seen, count, false, __ATOMIC_ACQ_REL,
                                                      __ATOMIC_RELAXED)) {
  }
  nag_arena_ring();
}

// A place for a process: of 0 chunks.
static int64_t take_place(uint32_t none) {
  (void)none;
  uint32_t count = __atomic_load_n(&nag_config.arena->place_count, __ATOMIC_ACQUIRE);
  if (count > nag_config.layout.processes) count = nag_config.layout.processes;
  for (uint32_t i = 0; i < nrec_arena_claimable(count); i++) {
    uint32_t *state = &nrec_arena_place(nag_config.arena, i)->state, free = NREC_PLACE_FREE;
    if (__atomic_load_n(state, __ATOMIC_RELAXED) == NREC_PLACE_FREE &&
        __atomic_compare_exchange_n(state, &free, NREC_PLACE_CLAIMED, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED))
      return i;
  }
  return -1;
}

// Waits until the recorder has freed something or has added some. -1: in vain. `spent`: units. It is
// apart because few calls come here, and any may run on a small stack.
__attribute__((noinline)) static int64_t wait_for(int64_t (*take)(uint32_t), uint32_t count,
                                                  uint64_t *spent) {
  nrec_arena *arena = nag_config.arena;
  int64_t index = -1;
  uint64_t began = nag_time();
  __atomic_add_fetch(&arena->waiters, 1, __ATOMIC_SEQ_CST);
  for (uint32_t round = 0; index < 0 && !is_vain(count); round++) {
    uint32_t freed = __atomic_load_n(&arena->freed, __ATOMIC_SEQ_CST);
    ask_for(count);
    index = take(count);
    if (index >= 0) break;
    if (nag_arena_is_late(began, WAIT_SECONDS)) {
      // That there are no neighbours says nothing of single ones.
      if (count <= 1) __atomic_store_n(&arena->is_stuck, 1, __ATOMIC_RELAXED);
      break;
    }
    if (round < SPINS) __builtin_ia32_pause();
    else nag_arena_wait(&arena->freed, freed);
  }
  __atomic_sub_fetch(&arena->waiters, 1, __ATOMIC_SEQ_CST);
  *spent = nag_time() - began;
  return index;
}

// Takes what `take` finds, or waits for it.
static inline int64_t take_or_wait(int64_t (*take)(uint32_t), uint32_t count, uint64_t *spent) {
  *spent = 0;
  int64_t index = take(count);
  // After a wait in vain, nobody waits until the recorder has freed something.
  if (index >= 0 || __atomic_load_n(&nag_config.arena->is_stuck, __ATOMIC_RELAXED)) return index;
  return wait_for(take, count, spent);
}

static void count_wait(nrec_file_header *header, uint64_t spent) {
  uint64_t rate = nag_config.config.units_per_second;
  if (spent <= rate / SLOWNESS) return;
  __atomic_add_fetch(&header->waits, 1, __ATOMIC_RELAXED);
  __atomic_add_fetch(&header->wait_nanoseconds, spent * 1000 / (rate / 1000000 + 1),
                     __ATOMIC_RELAXED);
}

uint8_t *nag_arena_take(uint32_t count) {
  nag_process *process = nag_process_state;
  if (process->header->flags & NREC_FLAG_FULL) return NULL;
  uint64_t spent;
  int64_t index = take_or_wait(take_free, count, &spent);
  count_wait(process->header, spent);
  if (index < 0) return NULL;
  entry((uint32_t)index)->link = 0;
  uint8_t *chunk = nrec_arena_chunk_at(nag_config.arena, &nag_config.layout, (uint32_t)index);
  ((nrec_chunk_header *)chunk)->magic = 0;  // what another has left there
  return chunk;
}

static uint32_t index_of(const void *chunk) {
  uint64_t offset = (uint64_t)chunk - (uint64_t)nag_config.arena - nag_config.layout.data;
  return (uint32_t)(offset / NREC_CHUNK_BYTES);
}

uint8_t *nag_arena_numbered(uint32_t link) {
  bool is_there = link > 0 && link <= nag_config.layout.chunks;
  return is_there ? nrec_arena_chunk_at(nag_config.arena, &nag_config.layout, link - 1) : NULL;
}

uint8_t *nag_arena_linked(const void *chunk) {
  return nag_arena_numbered(entry(index_of(chunk))->link);
}

void nag_arena_link(const void *chunk, const void *to) {
  entry(index_of(chunk))->link = to ? index_of(to) + 1 : 0;
}

bool nag_arena_holds(const void *chunk, uint64_t bytes) {
  uint32_t count = __atomic_load_n(&nag_config.arena->chunk_count, __ATOMIC_ACQUIRE);
  if (count > nag_config.layout.chunks) count = nag_config.layout.chunks;
  return bytes <= (uint64_t)(count - index_of(chunk)) * NREC_CHUNK_BYTES;
}

void nag_arena_hand_over(const void *chunk) {
  set_owner(index_of(chunk), own(NREC_FULL));
  nag_arena_ring();
}

void nag_arena_keep(const void *chunk) { set_owner(index_of(chunk), own(NREC_KEPT)); }

void nag_arena_give_back(const void *chunk, uint32_t count) {
  uint32_t index = index_of(chunk);
  for (uint32_t i = count; i > 0; i--) set_owner(index + i - 1, 0);
  tell_freed();
}

nrec_arena_process *nag_arena_place(uint32_t number) {
  return number < nag_config.layout.processes ? nrec_arena_place(nag_config.arena, number) : NULL;
}

nrec_arena_process *nag_arena_claim(uint32_t *number, uint64_t *spent) {
  int64_t index = is_over() ? -1 : take_or_wait(take_place, 0, spent);
  *number = (uint32_t)index;
  return index < 0 ? NULL : nrec_arena_place(nag_config.arena, *number);
}

void nag_arena_claimed(nrec_file_header *header, uint64_t spent) {
  count_wait(header, spent);
  __atomic_add_fetch(&nag_config.arena->claims, 1, __ATOMIC_SEQ_CST);
  nag_arena_ring();
}

uint32_t nag_arena_next_image(void) {
  return __atomic_add_fetch(&nag_config.arena->last_image, 1, __ATOMIC_RELAXED);
}

bool nag_arena_is_full(void) {
  return __atomic_load_n(&nag_config.arena->is_full, __ATOMIC_RELAXED);
}

void nag_arena_wait(uint32_t *word, uint32_t value) {
  const struct timespec look = {0, LOOK_NANOSECONDS};
  if (nag_is_confined) __builtin_ia32_pause();
  else NAG_CALL(SYS_futex, word, FUTEX_WAIT, value, &look);
}

// Where there is no clock, at once.
bool nag_arena_is_late(uint64_t began, uint32_t seconds) {
  return nag_self.has_no_clock || nag_time() - began > seconds * nag_config.config.units_per_second;
}

void nag_arena_be_polled(void) {
  __atomic_store_n(&nag_config.arena->is_polled, 1, __ATOMIC_SEQ_CST);
  nag_arena_ring();
}

bool nag_arena_is_held(void) {
  return __atomic_load_n(&nag_config.arena->is_held, __ATOMIC_SEQ_CST) && !is_over();
}

bool nag_arena_is_over(void) { return is_over(); }

uint32_t nag_places_of(size_t bytes) {
  return (uint32_t)((bytes + NREC_CHUNK_BYTES - 1) / NREC_CHUNK_BYTES);
}
