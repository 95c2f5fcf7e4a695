// SPDX-License-Identifier: Apache-2.0
//
// The zap, which the 2.6.27 engine did not have. Its first backport freed the records and then
// searched the hash for them. But freeing had overwritten `ip`, so the search found nothing, the
// records stayed linked, and each reuse cut a bucket's chain. That is why the order here matters.

#include "daemon_internal.h"

enum { READERS_MILLISECONDS = 1000 };

// 1. Take the records out of the hash with `ip` intact, so that no new reader finds them. 2. Mark
// them, so that a tracer skips them when it walks over the pages.
static nul_record *unlink_range(uint64_t start, uint64_t end, size_t *count) {
  nul_record *limbo = NULL, *next;
  for (int i = 0; i < NUL_BUCKETS; i++) {
    for (nul_record *record = atomic_load(&nul.buckets[i]); record != NULL; record = next) {
      next = atomic_load(&record->next);
      if (record->ip < start || record->ip >= end) continue;
      nul_unlink(record);
      record->flags |= NUL_FREE | NUL_FAILED;
      record->limbo = limbo;
      limbo = record;
      ++*count;
    }
  }
  return limbo;
}

size_t nul_release(uint64_t start, uint64_t end) {
  size_t count = 0;
  npc_patch_lock();
  if (nul.attached) {
    nul_lock();
    nul_record *limbo = unlink_range(start, end, &count), *next;
    nul_texts_forget(start, end);
    nul.released += count;
    nul_unlock();
    // 3. Wait until no reader uses them. 4. Only then put them on the free list, through `ip`.
    bool alone = nul_readers_wait(READERS_MILLISECONDS);
    nul_lock();
    if (!alone) nul.limbo += count;
    for (nul_record *record = alone ? limbo : NULL; record != NULL; record = next) {
      next = record->limbo;
      nul_recycle(record);
    }
    nul_unlock();
  }
  npc_patch_unlock();
  return count;
}

static bool covers(const npc_module *module, void *context) {
  const nul_text *text = context;
  return module->text_start <= text->start && text->end <= module->text_end;
}

size_t nul_release_vanished(void) {
  size_t count = 0;
  npc_patch_lock();
  // The patch lock protects the table. A release moves the entries behind it forward, so go
  // backwards.
  for (size_t i = nul.text_count; i-- > 0;) {
    nul_text text = nul.texts[i];
    if (!npc_modules_visit(covers, &text)) {
      count += nul_release(text.start, text.end);
      if (i > nul.text_count) i = nul.text_count;  // a release may remove several texts
    }
  }
  npc_patch_unlock();
  return count;
}

// Between the two events memory changes hands. The loader's hook holds the patch lock then; this
// takes it too, so that the engine does not depend on who calls.
void nul_loader_event(int event, void *context) {
  static bool holding;
  (void)context;
  if (event == NPC_LOADER_DELETING && !holding) {
    npc_patch_lock();
    holding = true;
  } else if (event == NPC_LOADER_DELETED) {
    if (nul.attached && nul.options.version == NUL_ZAPPED) nul_release_vanished();
    if (holding) {
      holding = false;
      npc_patch_unlock();
    }
  }
}
