// SPDX-License-Identifier: Apache-2.0
//
// The engine's outside: attaching, detaching, and reading its state.

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "daemon_internal.h"

static void reset(void) {
  for (int i = 0; i < NUL_BUCKETS; i++) atomic_store(&nul.buckets[i], NULL);
  nul.free_records = NULL;
  nul.text_count = nul.skipped_count = 0;
  nul.logged = 0;
  nul.records = nul.pages = nul.conversions = nul.released = nul.dropped = nul.limbo = 0;
  nul.skipped_calls = nul.stop_failures = 0;
  memset(nul.patches, 0, sizeof nul.patches);
  atomic_store(&nul.recursions, 0);
  nul.triggered = nul.tracing = nul.filtered = nul.disabled = nul.stopped = false;
  nul.last_stop = (npc_stop_report){0};
}

static void set_options(const nul_daemon_options *options) {
  nul.options = *options;
  if (!nul.options.interval_microseconds) nul.options.interval_microseconds = 1000000;
  if (!nul.options.conversion_limit) nul.options.conversion_limit = NUL_CONVERSION_LIMIT;
  if (!nul.options.preallocated_records) nul.options.preallocated_records = NUL_PREALLOCATED;
}

static void before_fork(void) {
  npc_patch_lock();
  nul_lock();
}

static void after_fork_in_parent(void) {
  nul_unlock();
  npc_patch_unlock();
}

// Done once per process: neither can be undone, and need not be. Without it, a child forked while
// another thread records would inherit a held lock. (Its patch lock is made anew already.)
static int set_up_once(void) {
  static bool added, handles_fork;
  int error = added ? 0 : npc_faults_add_fixup(nul_patch_cmpxchg, nul_patch_landing);
  if (error) return error;
  added = true;
  error = handles_fork ? 0 : pthread_atfork(before_fork, after_fork_in_parent, nul_unlock);
  handles_fork = error == 0;
  return error;
}

// Announced unloads need the loader's hook. The hook stays when the engine goes, because others may
// use it.
static int follow_loader(void) {
  nmc_decoder *decoder = nmc_decoder_create(NULL);
  if (decoder == NULL) return ENOMEM;
  int error = npc_loader_hook_install(nmc_confirms, decoder);
  nmc_decoder_destroy(decoder);
  return error ? error : npc_loader_subscribe(nul_loader_event, NULL);
}

static int set_up(const char **step) {
  *step = "preparing the patch core";
  int error = npc_patch_prepare();
  if (error) return error;
  *step = "adding the fix-up of the cmpxchg";
  if ((error = set_up_once())) return error;
  *step = "allocating records";
  if ((error = nul_pages_make(nul.options.preallocated_records))) return error;
  if (nul.options.version == NUL_VERIFIED) {
    *step = "opening Capstone";
    nul.decoder = nmc_decoder_create(NULL);
    if (nul.decoder == NULL) return ENOMEM;
  }
  if (nul.options.version == NUL_ZAPPED) {
    *step = "planting the loader's hook";
    if ((error = follow_loader())) return error;
  }
  *step = "starting the daemon";
  return nul_thread_start(nul.options.interval_microseconds);
}

static void tear_down(void) {
  nul_thread_stop();
  npc_patch_lock();
  nul.attached = false;
  npc_patch_unlock();
  if (nul.options.version == NUL_ZAPPED) npc_loader_unsubscribe(nul_loader_event, NULL);
  // If a reader does not leave, the pages are leaked rather than freed while it uses them.
  if (nul_readers_wait(1000)) nul_pages_free();
  nmc_decoder_destroy(nul.decoder);
  nul.decoder = NULL;
}

int nul_daemon_attach(const nul_daemon_options *options, const char **step) {
  const char *ignored;
  if (step == NULL) step = &ignored;
  *step = "attaching";
  if (nul.attached) return EBUSY;
  if (options->version < NUL_SHIPPED || options->version > NUL_ZAPPED) return EINVAL;
  reset();
  set_options(options);
  int error = set_up(step);
  if (error) {
    tear_down();
    return error;
  }
  nul_counts_clear();
  nul.attached = true;
  nul_mcount_set_mode(NUL_MCOUNT_RECORD);
  return 0;
}

int nul_daemon_detach(void) {
  if (!nul.attached) return EINVAL;
  nul_mcount_set_mode(NUL_MCOUNT_OFF);
  tear_down();
  reset();
  return 0;
}

bool nul_daemon_attached(void) { return nul.attached; }

void nul_daemon_set_stopped(bool stopped) {
  npc_patch_lock();
  nul.stopped = stopped;
  npc_patch_unlock();
}

bool nul_record_mark(uint64_t ip, uint64_t flag, bool on) {
  npc_patch_lock();
  nul_lock();
  nul_record *record = flag & ~(uint64_t)(NUL_FILTER | NUL_NOTRACE | NUL_FROZEN) ? NULL
                                                                                  : nul_find(ip);
  if (record != NULL) {
    record->flags = on ? record->flags | flag : record->flags & ~flag;
    if (on && flag & NUL_FILTER) nul.filtered = true;
  }
  nul_unlock();
  npc_patch_unlock();
  return record != NULL;
}

void nul_filters_clear(void) {
  npc_patch_lock();
  nul_lock();
  for (int i = 0; i < NUL_BUCKETS; i++) {
    nul_record *record = atomic_load(&nul.buckets[i]);
    for (; record != NULL; record = atomic_load(&record->next))
      record->flags &= ~(uint64_t)(NUL_FILTER | NUL_NOTRACE);
  }
  nul.filtered = false;
  nul_unlock();
  npc_patch_unlock();
}
