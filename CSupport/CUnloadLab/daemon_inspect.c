// SPDX-License-Identifier: Apache-2.0
//
// Reading the engine's state. These functions return copies, made under the engine's locks. The log
// is written with threads stopped and the patch lock held, so the patch lock is enough to read it.

#include <string.h>

#include "daemon_internal.h"

// Call it with the lock held.
static void count_free(nul_daemon_stats *stats) {
  const nul_record *record = nul.free_records;
  for (; record != NULL; record = (const nul_record *)(uintptr_t)record->ip) stats->free_records++;
  for (const nul_page *page = nul.first_page; page != NULL; page = page->next)
    stats->unused_records += NUL_RECORDS_PER_PAGE - page->used;
}

void nul_daemon_get_stats(nul_daemon_stats *stats) {
  *stats = (nul_daemon_stats){.mcount_calls = nul_mcount_calls(),
                              .traced_calls = nul_traced_calls(),
                              .last_traced_ip = nul_last_traced(),
                              .cycles = nul_thread_cycles()};
  npc_patch_lock();
  nul_lock();
  count_free(stats);
  stats->records = nul.records;
  stats->pages = nul.pages;
  stats->limbo_records = nul.limbo;
  stats->conversions = nul.conversions;
  memcpy(stats->patches, nul.patches, sizeof stats->patches);
  stats->released = nul.released;
  stats->dropped = nul.dropped;
  stats->recursions = atomic_load(&nul.recursions);
  stats->skipped_calls = nul.skipped_calls;
  stats->stop_failures = nul.stop_failures;
  stats->stop_thread = nul.last_stop.thread;
  stats->stop_error = nul.last_stop.error;
  stats->triggered = nul.triggered;
  stats->tracing = nul.tracing;
  stats->filtered = nul.filtered;
  stats->disabled = nul.disabled;
  nul_unlock();
  npc_patch_unlock();
}

bool nul_record_find(uint64_t ip, nul_record_info *info) {
  bool found = false;
  uint32_t bucket = nul_hash(ip), depth = 0;
  nul_lock();
  nul_record *record = atomic_load(&nul.buckets[bucket]);
  for (; record != NULL && !found; record = atomic_load(&record->next), depth++) {
    if (record->ip != ip) continue;
    *info = (nul_record_info){.ip = ip, .flags = record->flags, .bucket = bucket, .depth = depth};
    found = true;
  }
  nul_unlock();
  return found;
}

bool nul_last_patch(uint64_t ip, nul_patch_entry *entry) {
  bool found = false;
  npc_patch_lock();
  uint64_t oldest = nul.logged > NUL_LOG_ENTRIES ? nul.logged - NUL_LOG_ENTRIES : 0;
  for (uint64_t i = nul.logged; i > oldest && !found; i--) {
    const nul_patch_entry *candidate = &nul.log[(i - 1) % NUL_LOG_ENTRIES];
    if (candidate->ip != ip) continue;
    *entry = *candidate;
    found = true;
  }
  npc_patch_unlock();
  return found;
}

size_t nul_patch_log(nul_patch_entry *entries, size_t capacity) {
  npc_patch_lock();
  uint64_t count = nul.logged;
  if (count > NUL_LOG_ENTRIES) count = NUL_LOG_ENTRIES;
  if (count > capacity) count = capacity;
  for (uint64_t i = 0; i < count; i++)
    entries[i] = nul.log[(nul.logged - count + i) % NUL_LOG_ENTRIES];
  npc_patch_unlock();
  return count;
}

size_t nul_skipped(uint64_t *ips, size_t capacity) {
  nul_lock();
  size_t count = nul.skipped_count < capacity ? nul.skipped_count : capacity;
  memcpy(ips, nul.skipped, count * sizeof *ips);
  nul_unlock();
  return count;
}
