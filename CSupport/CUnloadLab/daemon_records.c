// SPDX-License-Identifier: Apache-2.0
//
// Records: the hash, the pages that hold them, the free list.
//
// A look-up takes no lock. It can, because a record's memory is always a record: from an unlinked
// record, even from one that was recycled into another bucket, the chain still leads to an end. A
// look-up that found nothing tries again under the lock.

#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "daemon_internal.h"

NUL_HIDDEN nul_engine nul = {.lock = ATOMIC_FLAG_INIT};

// A signal handler may call traced functions: its thread must not wait here for a lock that it
// holds.
void nul_lock(void) {
  nul_recursion_enter();
  for (unsigned round = 0; atomic_flag_test_and_set(&nul.lock); round++) nul_spin_pause(round);
}

void nul_unlock(void) {
  atomic_flag_clear(&nul.lock);
  nul_recursion_leave();
}

// Linux 2.6.27, include/linux/hash.h: the 64-bit prime near the golden ratio, and the top ten bits.
uint32_t nul_hash(uint64_t ip) { return (uint32_t)(ip * 0x9e37fffffffc0001u >> 54); }

nul_record *nul_find(uint64_t ip) {
  _Atomic(nul_record *) *link = &nul.buckets[nul_hash(ip)];
  nul_record *record = atomic_load_explicit(link, memory_order_acquire);
  while (record != NULL && __atomic_load_n(&record->ip, __ATOMIC_RELAXED) != ip)
    record = atomic_load_explicit(&record->next, memory_order_acquire);
  return record;
}

// Inserts at the head: the converter stops in a bucket at the first CONVERTED record.
void nul_insert(nul_record *record) {
  _Atomic(nul_record *) *bucket = &nul.buckets[nul_hash(record->ip)];
  nul_record *first = atomic_load(bucket);
  atomic_store(&record->next, first);
  record->back = bucket;
  if (first != NULL) first->back = &record->next;
  atomic_store_explicit(bucket, record, memory_order_release);
  nul.records++;
}

// `next` stays, because a reader may be at this record.
void nul_unlink(nul_record *record) {
  nul_record *next = atomic_load(&record->next);
  atomic_store_explicit(record->back, next, memory_order_release);
  if (next != NULL) next->back = record->back;
  nul.records--;
}

// Overwrites `ip`, so every reader that still looks for it must have left since the record was
// unlinked.
void nul_recycle(nul_record *record) {
  record->flags |= NUL_FREE;
  __atomic_store_n(&record->ip, (uint64_t)(uintptr_t)nul.free_records, __ATOMIC_RELAXED);
  nul.free_records = record;
}

static nul_record *take(void) {
  nul_record *record = nul.free_records;
  if (record != NULL) {
    nul.free_records = (nul_record *)(uintptr_t)record->ip;
  } else {
    if (nul.current_page->used == NUL_RECORDS_PER_PAGE) {
      if (nul.current_page->next == NULL) return NULL;
      nul.current_page = nul.current_page->next;
    }
    record = &nul.current_page->records[nul.current_page->used++];
  }
  record->flags = 0;
  return record;
}

static void skip(uint64_t ip) {
  nul.skipped_calls++;
  for (size_t i = 0; i < nul.skipped_count; i++)
    if (nul.skipped[i] == ip) return;
  if (nul.skipped_count < NUL_MAX_SKIPPED) nul.skipped[nul.skipped_count++] = ip;
}

// The caller counts itself in as a reader and guards against recursion. The byte at `ip` is
// readable: the call there has just been executed.
void nul_record_ip(uint64_t ip) {
  if (!nul.attached || __atomic_load_n(&nul.disabled, __ATOMIC_RELAXED)) return;
  if (nul_find(ip) != NULL) return;
  nul_lock();
  if (nul_find(ip) == NULL) {
    if (nul_text_at(ip) == NULL || *(const uint8_t *)(uintptr_t)ip != 0xe8) {
      skip(ip);
    } else {
      nul_record *record = take();
      if (record == NULL) {
        nul.dropped++;
      } else {
        __atomic_store_n(&record->ip, ip, __ATOMIC_RELAXED);
        nul_insert(record);
        nul.triggered = true;
      }
    }
  }
  nul_unlock();
}

// Makes one mapping, before any module of an experiment is unloaded, so that it never fills the
// hole that a module leaves.
int nul_pages_make(uint64_t records) {
  uint64_t count = (records + NUL_RECORDS_PER_PAGE - 1) / NUL_RECORDS_PER_PAGE;
  if (count == 0 || count > (1u << 20)) return EINVAL;
  void *memory = mmap(NULL, count * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                      0);
  if (memory == MAP_FAILED) return errno;
  nul.preallocated = memory;
  nul.preallocated_length = count * 4096;
  for (uint64_t i = 0; i < count; i++) {
    nul_page *page = (nul_page *)((uint8_t *)memory + i * 4096);
    page->next = i + 1 < count ? (nul_page *)((uint8_t *)page + 4096) : NULL;
  }
  nul.first_page = nul.current_page = memory;
  nul.pages = count;
  return 0;
}

// Called once per cycle of the daemon, never while threads are stopped: calloc takes locks.
void nul_page_spare(void) {
  nul_lock();
  bool wanted = nul.current_page->next == NULL;
  nul_unlock();
  if (!wanted) return;
  nul_page *page = calloc(1, sizeof *page);
  if (page == NULL) return;  // tried again at the next cycle
  nul_lock();
  nul.current_page->next = page;
  nul.pages++;
  nul_unlock();
}

void nul_pages_free(void) {
  nul_page *page = nul.first_page;
  uintptr_t start = (uintptr_t)nul.preallocated, end = start + nul.preallocated_length;
  while (page != NULL) {
    nul_page *next = page->next;
    if ((uintptr_t)page < start || (uintptr_t)page >= end) free(page);
    page = next;
  }
  if (nul.preallocated != NULL) munmap(nul.preallocated, nul.preallocated_length);
  nul.first_page = nul.current_page = NULL;
  nul.preallocated = NULL;
}
