// SPDX-License-Identifier: Apache-2.0
//
// What happens while all threads are stopped: converting new records, and switching a tracer on or
// off. Nothing here allocates or calls a function that waits.

#include <errno.h>

#include "daemon_internal.h"

// Stops every thread, sleeping ones too, as the kernel's stop_machine did. The hash's lock is taken
// before the stop, so that no stopped thread holds it.
static int stop_all(void) {
  npc_stop_request request = {.timeout_milliseconds = nul.options.stop_timeout_milliseconds,
                              .wake_sleepers = true};
  nul_lock();
  npc_block_forks();
  if (npc_stop_threads(&request, &nul.last_stop)) return 0;
  npc_allow_forks();
  nul_unlock();
  nul.stop_failures++;
  return nul.last_stop.error ? nul.last_stop.error : ETIMEDOUT;
}

static void resume_all(void) {
  npc_resume_threads();
  npc_allow_forks();
  nul_unlock();
  npc_sync_cores();  // the others serialised on their way out; this thread has not
}

// The kernel frees a failed record at once, unless it is core text: its module may be gone. That is
// all that the kernel ever knew of unloading. A thread may be stopped while it reads this record:
// see daemon_records.c.
static void fail(nul_record *record) {
  record->flags |= NUL_FAILED;
  nul_unlink(record);
  nul_recycle(record);
}

static void convert_record(nul_record *record) {
  int result = nul_patch_site(record->ip, NUL_CALL_MCOUNT, NUL_NOP, NUL_PURPOSE_CONVERT);
  if (result != NUL_PATCH_DONE) {
    fail(record);
    return;
  }
  record->flags |= NUL_CONVERTED;
  nul.conversions++;
}

// Unconverted records are kept before converted ones. Frozen ones go back to the head, so that this
// also holds the next time.
static void convert_bucket(_Atomic(nul_record *) *bucket) {
  nul_record *frozen = NULL, *next;
  for (nul_record *record = atomic_load(bucket); record != NULL; record = next) {
    next = atomic_load(&record->next);
    if (record->flags & NUL_FAILED) continue;
    if (record->flags & NUL_CONVERTED) break;
    if (record->flags & NUL_FROZEN) {
      nul_unlink(record);
      record->limbo = frozen;
      frozen = record;
      continue;
    }
    convert_record(record);
  }
  for (nul_record *record = frozen; record != NULL; record = next) {
    next = record->limbo;
    nul_insert(record);
  }
}

static void convert_all(void) {
  nul.triggered = false;
  for (int i = 0; i < NUL_BUCKETS; i++) convert_bucket(&nul.buckets[i]);
  // More conversions than this cannot be right: the same sites are being recorded again and again.
  if (nul.conversions > nul.options.conversion_limit)
    __atomic_store_n(&nul.disabled, true, __ATOMIC_RELAXED);
}

int nul_convert_pending(void) {
  int error = stop_all();
  if (error) return error;
  convert_all();
  resume_all();
  return 0;
}

static bool is_wanted(const nul_record *record, bool enable) {
  if (!enable || record->flags & NUL_NOTRACE) return false;
  return !nul.filtered || record->flags & NUL_FILTER;
}

// The flag changes before the bytes do, so that a failed record shows what was tried.
static void replace_record(nul_record *record, bool enable) {
  if (record->flags & (NUL_FAILED | NUL_FREE | NUL_FROZEN)) return;
  bool wanted = is_wanted(record, enable);
  if (wanted == ((record->flags & NUL_ENABLED) != 0)) return;
  record->flags ^= NUL_ENABLED;
  int result = wanted
                   ? nul_patch_site(record->ip, NUL_NOP, NUL_CALL_TRACER, NUL_PURPOSE_ENABLE)
                   : nul_patch_site(record->ip, NUL_CALL_TRACER, NUL_NOP, NUL_PURPOSE_DISABLE);
  if (result != NUL_PATCH_DONE && record->flags & NUL_CONVERTED) fail(record);
}

int nul_replace_all(bool enable) {
  int error = stop_all();
  if (error) return error;
  if (enable) convert_all();
  for (nul_page *page = nul.first_page; page != NULL; page = page->next)
    for (uint64_t i = 0; i < page->used; i++) replace_record(&page->records[i], enable);
  resume_all();
  return 0;
}

static int switch_tracer(bool on) {
  npc_patch_lock();
  int error = !nul.attached ? EINVAL : nul.disabled ? EPERM : 0;
  if (error == 0) {
    bool before = nul.tracing;
    nul.tracing = on;
    error = nul_replace_all(on);
    if (error) nul.tracing = before;
  }
  npc_patch_unlock();
  return error;
}

int nul_tracer_start(void) { return switch_tracer(true); }

int nul_tracer_stop(void) { return switch_tracer(false); }
