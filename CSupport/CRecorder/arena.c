// SPDX-License-Identifier: Apache-2.0
//
// The recorder's end of the arena (nrec_arena.h). A thread of its own writes what the agents hand
// over, so that no program waits for what the recorder does otherwise.
//
// The thread also collects messages and claims, which the recorder reads when the descriptor of
// nrc_arena_events is readable. What it writes, and why it trusts none of it: arena_sweep.c.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arena_internal.h"

enum { FIRST_SPARE = 4, MOST_SPARE = 1024, SPARE_PLACES = 32 };
enum { LOOK_NANOSECONDS = 100000000, POLL_NANOSECONDS = 1000000 };

static void futex(uint32_t *word, int operation, uint32_t value, const struct timespec *limit) {
  syscall(SYS_futex, word, operation, value, limit, NULL, 0);
}

static void tell_freed(nrec_arena *shared) {
  __atomic_store_n(&shared->is_stuck, 0, __ATOMIC_RELAXED);
  __atomic_add_fetch(&shared->freed, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&shared->waiters, __ATOMIC_SEQ_CST))
    futex(&shared->freed, FUTEX_WAKE, INT_MAX, NULL);
}

static bool allocate(const nrc_arena *arena, uint64_t offset, uint64_t bytes) {
  return posix_fallocate(arena->file, (off_t)offset, (off_t)bytes) == 0;
}

// The chunks and their entries in the table.
static bool allocate_chunks(const nrc_arena *arena, uint32_t count) {
  const uint64_t entry = sizeof(nrec_arena_chunk), first = arena->chunk_count;
  return allocate(arena, arena->layout.table + first * entry, count * entry) &&
         allocate(arena, arena->layout.data + first * NREC_CHUNK_BYTES,
                  (uint64_t)count * NREC_CHUNK_BYTES);
}

// Adds chunks, fewer where there is no memory for all of them.
static bool add_chunks(nrc_arena *arena, uint32_t count) {
  uint32_t room = arena->most_chunks - arena->chunk_count;
  if (count > room) count = room;
  while (count > 0 && !allocate_chunks(arena, count)) {
    arena->most_chunks = arena->chunk_count + count - 1;
    count /= 2;
  }
  arena->chunk_count += count;
  __atomic_store_n(&arena->shared->chunk_count, arena->chunk_count, __ATOMIC_RELEASE);
  if (arena->chunk_count == arena->most_chunks)
    __atomic_store_n(&arena->shared->is_full, 1, __ATOMIC_RELEASE);
  return count > 0;
}

// Keeps some places free behind the last one that is used: whoever needs one takes the first that is
// free. Whether there are more than before.
static bool grow_places(nrc_arena *arena) {
  if (arena->place_count - arena->place_end >= SPARE_PLACES) return false;
  uint32_t count = arena->place_count == 0 ? 2 * SPARE_PLACES : 2 * arena->place_count;
  if (count > arena->layout.processes) count = arena->layout.processes;
  const uint64_t bytes = NREC_PAGE + count * sizeof(nrec_arena_process);
  if (count == arena->place_count || !allocate(arena, 0, bytes)) return false;
  arena->place_count = count;
  if (arena->shared != NULL)
    __atomic_store_n(&arena->shared->place_count, count, __ATOMIC_RELEASE);
  return true;
}

// Whether there are more than before.
static bool grow(nrc_arena *arena, uint32_t free) {
  uint32_t wanted = __atomic_exchange_n(&arena->shared->wanted, 0, __ATOMIC_ACQ_REL);
  if (wanted > NREC_ARENA_CHUNKS) wanted = NREC_ARENA_CHUNKS;
  // A program has waited: it fills them faster than the disk takes them.
  if (wanted == 1 && arena->spare < MOST_SPARE) arena->spare *= 2;
  uint32_t missing = free < arena->spare ? arena->spare - free : 0;
  if (missing < wanted) missing = wanted;
  return missing > 0 && add_chunks(arena, missing);
}

// Wakes the recorder for what was found under the lock; not before, or it would wait for the lock.
static void unlock(nrc_arena *arena) {
  const uint64_t more = 1;
  bool has_news = arena->has_news;
  arena->has_news = false;
  pthread_mutex_unlock(&arena->lock);
  if (!has_news) return;
  ssize_t wrote = write(arena->wakes, &more, sizeof more);
  (void)wrote;  // the counter is full: it wakes all the same
}

// --- the thread ---------------------------------------------------------------------------------

static void *write_all(void *context) {
  nrc_arena *arena = context;
  nrec_arena *shared = arena->shared;
  const struct timespec look = {0, LOOK_NANOSECONDS}, soon = {0, POLL_NANOSECONDS};
  pthread_mutex_lock((pthread_mutex_t *)shared->alive);
  while (!__atomic_load_n(&arena->is_ending, __ATOMIC_ACQUIRE)) {
    uint32_t bell = __atomic_load_n(&shared->bell, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&arena->lock);
    nrc_arena_find_claims(arena);
    nrc_arena_find_gate(arena);
    swept result = nrc_arena_sweep(arena, -1);
    unlock(arena);
    // What is said is answered first: a process waits for it.
    pthread_mutex_lock(&arena->lock);
    bool has_grown = grow(arena, result.free);
    has_grown = grow_places(arena) || has_grown;
    pthread_mutex_unlock(&arena->lock);
    if (result.freed > 0 || has_grown) tell_freed(shared);
    if (result.freed > 0) continue;
    __atomic_store_n(&shared->sleeps, 1, __ATOMIC_SEQ_CST);
    bool is_polled = __atomic_load_n(&shared->is_polled, __ATOMIC_RELAXED);
    futex(&shared->bell, FUTEX_WAIT, bell, is_polled ? &soon : &look);
    __atomic_store_n(&shared->sleeps, 0, __ATOMIC_SEQ_CST);
  }
  pthread_mutex_unlock((pthread_mutex_t *)shared->alive);
  return NULL;
}

static void ring(nrc_arena *arena) {
  __atomic_add_fetch(&arena->shared->bell, 1, __ATOMIC_SEQ_CST);
  futex(&arena->shared->bell, FUTEX_WAKE, 1, NULL);
}

// Signals are for the other thread.
static int start_writer(nrc_arena *arena) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&arena->writer, NULL, write_all, arena);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

// --- for the recorder ---------------------------------------------------------------------------

// How long the file may become: a quarter of the memory, an eighth of the address space.
static uint64_t most_bytes(void) {
  uint64_t most = nrc_file_size_limit(), space = nrc_address_space_limit() / 8;
  uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4;
  if (space < most) most = space;
  return memory < most ? memory : most;
}

uint64_t nrc_arena_least_bytes(void) {
  uint64_t bytes = NREC_PAGE;
  for (nrec_arena_layout layout = {0}; layout.chunks == 0; bytes += NREC_PAGE)
    layout = nrec_arena_plan(bytes + NREC_PAGE);
  return bytes;
}

static void make_alive(nrec_arena *shared) {
  pthread_mutexattr_t robust;
  pthread_mutexattr_init(&robust);
  pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init((pthread_mutex_t *)shared->alive, &robust);
  pthread_mutexattr_destroy(&robust);
}

static int set_up(nrc_arena *arena) {
  arena->layout = nrec_arena_plan(most_bytes());
  arena->most_chunks = arena->layout.chunks;
  if (arena->layout.processes == 0) return 0;
  arena->file =
      (int)syscall(SYS_memfd_create, NREC_ARENA_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (arena->file < 0) return errno;
  // The table is there at once, for agents to see how long the file is; its pages come with the chunks.
  if (ftruncate(arena->file, (off_t)arena->layout.data) != 0) return errno;
  if (!grow_places(arena)) return ENOMEM;
  if (fcntl(arena->file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) != 0) return errno;
  void *shared = mmap(NULL, nrec_arena_bytes(&arena->layout), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE, arena->file, 0);
  if (shared == MAP_FAILED) return errno;
  arena->shared = shared;
  arena->shared->magic = NREC_ARENA_MAGIC;
  arena->shared->layout = arena->layout;
  arena->shared->place_count = arena->place_count;
  make_alive(arena->shared);
  return start_writer(arena);
}

_Static_assert(sizeof(pthread_mutex_t) <= sizeof((nrec_arena *)0)->alive, "the mutex fits");

static void release(nrc_arena *arena) {
  for (waiting *one; (one = arena->first) != NULL; free(one)) arena->first = one->next;
  if (arena->wakes >= 0) close(arena->wakes);
  if (arena->shared != NULL) munmap(arena->shared, nrec_arena_bytes(&arena->layout));
  if (arena->file >= 0) close(arena->file);
  pthread_mutex_destroy(&arena->lock);
  free(arena);
}

nrc_arena *nrc_arena_make(void) {
  nrc_arena *arena = calloc(1, sizeof *arena);
  if (arena == NULL) return NULL;
  arena->file = -1;
  arena->last = &arena->first;
  arena->wakes = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  arena->spare = FIRST_SPARE;
  pthread_mutex_init(&arena->lock, NULL);
  int error = set_up(arena);
  if (error == 0) return arena;
  release(arena);
  errno = error;
  return NULL;
}

void nrc_arena_close(nrc_arena *arena) {
  if (arena->shared == NULL) return;
  __atomic_store_n(&arena->shared->is_closed, 1, __ATOMIC_SEQ_CST);
  __atomic_store_n(&arena->is_ending, true, __ATOMIC_RELEASE);
  ring(arena);
  tell_freed(arena->shared);
}

void nrc_arena_free(nrc_arena *arena) {
  if (arena == NULL) return;
  if (arena->shared != NULL) {
    nrc_arena_close(arena);
    pthread_join(arena->writer, NULL);
  }
  release(arena);
}

int nrc_arena_file(const nrc_arena *arena) { return arena->file; }

int nrc_arena_events(const nrc_arena *arena) { return arena->wakes; }

nrc_arena_event *nrc_arena_next(nrc_arena *arena) {
  uint64_t count;
  pthread_mutex_lock(&arena->lock);
  waiting *one = arena->first;
  if (one != NULL) {
    arena->first = one->next;
    if (arena->first == NULL) arena->last = &arena->first;
  } else if (arena->wakes >= 0) {
    ssize_t got = read(arena->wakes, &count, sizeof count);
    (void)got;  // it does not wait; there may be nothing
  }
  pthread_mutex_unlock(&arena->lock);
  return one == NULL ? NULL : &one->event;
}

void nrc_arena_done(nrc_arena_event *event) {
  free((uint8_t *)event - offsetof(waiting, event));
}

// The header's page is there before anything is recorded: a full disk is met now.
static int make_header_page(int events) {
  static const uint8_t page[NREC_PAGE];
  return nrc_arena_put(events, page, sizeof page, 0);
}

static void settle(image *one, const nrc_arena_image *about) {
  one->is_used = true;
  one->is_claimed = false;
  one->events = about->events;
  one->process = about->process;
  one->parent = about->parent;
  one->incarnation = about->incarnation;
  one->start_realtime = about->start_realtime_nanoseconds;
}

int nrc_arena_join(nrc_arena *arena, const nrc_arena_image *about, uint32_t *image_number) {
  int error = make_header_page(about->events), place = -1;
  if (error == 0 && arena->shared == NULL) error = EFBIG;
  pthread_mutex_lock(&arena->lock);
  if (error == 0) grow_places(arena);
  for (uint32_t i = 0; error == 0 && place < 0 && i < arena->place_count; i++) {
    uint32_t free = NREC_PLACE_FREE;
    if (__atomic_compare_exchange_n(&nrec_arena_place(arena->shared, i)->state, &free,
                                    NREC_PLACE_JOINED, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
      place = (int)i;
  }
  if (place >= 0) {
    nrec_arena_process *its = nrec_arena_place(arena->shared, (uint32_t)place);
    memset(&its->header, 0, sizeof its->header);
    its->image = *image_number =
        __atomic_add_fetch(&arena->shared->last_image, 1, __ATOMIC_RELAXED);
    its->answers = 0;
    arena->images[place] = (image){.end = NREC_PAGE};
    settle(&arena->images[place], about);
    if ((uint32_t)place >= arena->place_end) arena->place_end = (uint32_t)place + 1;
  }
  pthread_mutex_unlock(&arena->lock);
  if (place < 0) errno = error != 0 ? error : EAGAIN;
  return place;
}

int nrc_arena_adopt(nrc_arena *arena, int place, const nrc_arena_image *about) {
  int error = make_header_page(about->events);
  pthread_mutex_lock(&arena->lock);
  image *one = &arena->images[place];
  settle(one, about);
  // Where there is no space, all of its events are counted as lost.
  if (error != 0) {
    one->is_full = true;
    one->error = error;
    __atomic_or_fetch(&nrec_arena_place(arena->shared, (uint32_t)place)->header.flags,
                      NREC_FLAG_FULL, __ATOMIC_RELAXED);
  }
  __atomic_store_n(&nrec_arena_place(arena->shared, (uint32_t)place)->state, NREC_PLACE_JOINED,
                   __ATOMIC_RELEASE);
  pthread_mutex_unlock(&arena->lock);
  ring(arena);
  errno = error;
  return error == 0 ? 0 : -1;
}

// Takes `count` free neighbours for the recorder itself. -1: there are none.
static int64_t take_free(nrc_arena *arena, uint32_t count, uint32_t place) {
  uint32_t taken = 0;
  for (uint32_t i = 0; i < arena->chunk_count; i++) {
    uint32_t *owner = &nrec_arena_entry(arena->shared, &arena->layout, i)->owner, none = 0;
    uint32_t wanted = nrec_owner(place, taken == 0 ? NREC_ANSWER : NREC_KEPT);
    if (__atomic_compare_exchange_n(owner, &none, wanted, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED)) {
      if (++taken == count) return i + 1 - count;
    } else {
      while (taken > 0) nrc_arena_set_free(arena, i - taken--);
    }
  }
  while (taken > 0) nrc_arena_set_free(arena, arena->chunk_count - taken--);
  return -1;
}

bool nrc_arena_answer(nrc_arena *arena, int place, const void *plan, const void *entries,
                      size_t size) {
  size_t bytes = sizeof(nrec_answer) + size;
  uint32_t count = (uint32_t)((bytes + NREC_CHUNK_BYTES - 1) / NREC_CHUNK_BYTES);
  nrec_arena_process *its = nrec_arena_place(arena->shared, (uint32_t)place);
  pthread_mutex_lock(&arena->lock);
  int64_t index = take_free(arena, count, (uint32_t)place);
  if (index < 0 && add_chunks(arena, count)) index = take_free(arena, count, (uint32_t)place);
  if (index >= 0) {
    nrec_answer *answer = (nrec_answer *)nrec_arena_chunk_at(arena->shared, &arena->layout,
                                                             (uint32_t)index);
    memcpy(&answer->plan, plan, sizeof answer->plan);
    memcpy(answer->entries, entries, size);
    uint32_t *link = &nrec_arena_entry(arena->shared, &arena->layout, (uint32_t)index)->link;
    uint32_t newest = __atomic_load_n(&its->answers, __ATOMIC_RELAXED);
    do __atomic_store_n(link, newest, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&its->answers, &newest, (uint32_t)index + 1, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
  }
  pthread_mutex_unlock(&arena->lock);
  if (index >= 0) futex(&its->answers, FUTEX_WAKE, INT_MAX, NULL);
  return index >= 0;
}

void nrc_arena_look(nrc_arena *arena) {
  if (arena->shared == NULL) return;
  pthread_mutex_lock(&arena->lock);
  nrc_arena_find_claims(arena);
  swept result = nrc_arena_sweep(arena, -1);
  unlock(arena);
  if (result.freed > 0) tell_freed(arena->shared);
}

int nrc_arena_leave(nrc_arena *arena, int place, double ticks_per_second) {
  image *one = &arena->images[place];
  pthread_mutex_lock(&arena->lock);
  nrc_arena_sweep(arena, place);
  nrec_file_header *header = &nrec_arena_place(arena->shared, (uint32_t)place)->header;
  // It did not end by exit: it is known by now, a moment after its end.
  if (header->end_time == 0) header->end_time = nrc_ticks() >> NREC_TIME_SHIFT;
  if (header->end_time > header->start_time) {
    double ticks = (double)(header->end_time - header->start_time) * (1 << NREC_TIME_SHIFT);
    header->end_realtime_nanoseconds =
        one->start_realtime + (uint64_t)(ticks / ticks_per_second * 1e9);
  }
  nrc_arena_put_header(arena, (uint32_t)place);
  int error = one->error;
  for (waiting *late; (late = one->later) != NULL; free(late)) one->later = late->next;
  *one = (image){.is_used = false};
  nrec_arena_process *its = nrec_arena_place(arena->shared, (uint32_t)place);
  its->header.magic = 0;
  its->image = 0;
  __atomic_store_n(&its->state, NREC_PLACE_FREE, __ATOMIC_RELEASE);
  pthread_mutex_unlock(&arena->lock);
  tell_freed(arena->shared);
  errno = error;
  return error == 0 ? 0 : -1;
}
