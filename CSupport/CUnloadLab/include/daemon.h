// SPDX-License-Identifier: Apache-2.0
//
// The engine of Linux 2.6.27 in a process. It discovers call sites when they run.
//
//   call mcount -> record in a hash -> a daemon, once a second: stop all, call -> nop
//   tracer starts -> stop all, nop -> call ftrace_caller; tracer stops -> back to nop
//
// Nothing leaves the hash when a module is unloaded: that is the bug. Three versions share the code
// path and differ in what is added to it (NUL_SHIPPED and the others).
//
// There is one engine at a time. Locks, in order: the patch lock (npc_patch_lock), the hash's spin
// lock, the fork lock (npc_block_forks). All are taken before other threads are stopped, so that no
// stopped thread holds one.

#ifndef NUL_DAEMON_H
#define NUL_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  NUL_SITE_LENGTH = 5,            ///< bytes of `e8 rel32` and of the nop
  NUL_BUCKETS = 1024,
  NUL_RECORDS_PER_PAGE = 127,     ///< 32-byte records behind a 16-byte head in 4096 bytes
  NUL_PREALLOCATED = 10000,       ///< records; rounded up to whole pages
  NUL_CONVERSION_LIMIT = 100000,  ///< conversions in all, beyond which ftrace disables itself
  NUL_MAX_TEXTS = 256,
  NUL_MAX_SKIPPED = 256,
  NUL_LOG_ENTRIES = 4096,
};

/// What is added to the original engine.
enum {
  NUL_SHIPPED = 0,   ///< nothing: no verification, no release at unload
  NUL_VERIFIED = 1,  ///< the five bytes are read, compared and decoded before each cmpxchg
  NUL_ZAPPED = 2,    ///< as shipped, and records are released when their module is unloaded
};

/// A record's flags, bits 0 to 6.
enum {
  NUL_FREE = 1,        ///< on the free list, or on its way there
  NUL_FAILED = 2,      ///< patching failed once: never tried again
  NUL_FILTER = 4,
  NUL_ENABLED = 8,     ///< the site calls ftrace_caller
  NUL_NOTRACE = 16,
  NUL_CONVERTED = 32,  ///< the site became a nop
  NUL_FROZEN = 64,     ///< another party's breakpoint is there: not touched
};

/// What mcount does.
enum {
  NUL_MCOUNT_OFF = 0,     ///< returns at once: no engine
  NUL_MCOUNT_COUNT = 1,   ///< counts: what a kernel with dynamic patching off does for each call
  NUL_MCOUNT_RECORD = 2,  ///< records the site
};

/// Result of one patch: the kernel's own numbers.
enum {
  NUL_PATCH_DONE = 0,      ///< written, or the new bytes were there already
  NUL_PATCH_FAULTED = 1,   ///< the cmpxchg faulted (NUL_VERIFIED: or the read before it)
  NUL_PATCH_MISMATCH = 2,  ///< other bytes
};

enum { NUL_PURPOSE_CONVERT = 0, NUL_PURPOSE_ENABLE = 1, NUL_PURPOSE_DISABLE = 2 };

typedef struct nul_daemon_options {
  int32_t version;                     ///< NUL_SHIPPED, NUL_VERIFIED or NUL_ZAPPED
  uint32_t stop_timeout_milliseconds;  ///< 0: 1000
  uint64_t interval_microseconds;      ///< between the daemon's cycles; 0: one second
  uint64_t conversion_limit;           ///< 0: NUL_CONVERSION_LIMIT
  uint64_t preallocated_records;       ///< 0: NUL_PREALLOCATED
} nul_daemon_options;

typedef struct nul_daemon_stats {
  uint64_t mcount_calls;      ///< since attach, or since the counts were cleared
  uint64_t traced_calls;      ///< of ftrace_caller
  uint64_t last_traced_ip;
  uint64_t records;           ///< in the hash
  uint64_t pages;             ///< of NUL_RECORDS_PER_PAGE records
  uint64_t free_records;      ///< on the free list
  uint64_t unused_records;    ///< of the pages, never taken
  uint64_t limbo_records;     ///< released, but a reader did not leave in time: never reused
  uint64_t conversions;       ///< call -> nop, done
  uint64_t patches[3];        ///< all patches by result
  uint64_t released;          ///< records taken out by nul_release
  uint64_t dropped;           ///< calls not recorded because there was no free record
  uint64_t recursions;        ///< calls from within the recorder (signal handlers)
  uint64_t skipped_calls;     ///< from sites the engine does not handle
  uint64_t cycles;            ///< complete cycles of the daemon
  uint64_t stop_failures;     ///< cycles abandoned because a thread did not stop
  int32_t stop_thread, stop_error;  ///< of the last such cycle
  bool triggered, tracing, filtered, disabled;
} nul_daemon_stats;

typedef struct nul_record_info {
  uint64_t ip;
  uint64_t flags;
  uint32_t bucket;
  uint32_t depth;   ///< records before it in its bucket
} nul_record_info;

typedef struct nul_patch_entry {
  uint64_t sequence;                     ///< 1 is the first patch since attach
  uint64_t ip;
  uint8_t expected[NUL_SITE_LENGTH];
  uint8_t replacement[NUL_SITE_LENGTH];
  uint8_t found[NUL_SITE_LENGTH];        ///< the first `found_length` are known
  uint8_t found_length;                  ///< 0 (fault), 4 (cmpxchg) or 5 (read before)
  uint8_t result;                        ///< NUL_PATCH_*
  uint8_t purpose;                       ///< NUL_PURPOSE_*
  bool executed;                         ///< the cmpxchg ran: a locked cycle took place, or a fault
} nul_patch_entry;

/// Set-up. Starts the engine and its daemon; mcount records from now on. 0 or an errno, with
/// `*step` naming what failed: EBUSY (one is attached), EINVAL (version), ENOMEM, or what the
/// patch core's set-up returned.
int nul_daemon_attach(const nul_daemon_options *options, const char **step);
/// Stops the daemon and forgets every record and text. It writes no text: sites stay as they are.
/// 0, or EINVAL where no engine is attached.
int nul_daemon_detach(void);
bool nul_daemon_attached(void);

/// Registers [start, end) as instrumented text whose mcount is reached by `call mcount_stub`, and
/// makes it readable, writable and executable once, as that kernel's module text was. Maps the
/// trampoline of its enabled sites. Registering the same range again replaces the former entry. 0;
/// EINVAL; ENOSPC (NUL_MAX_TEXTS); or an errno of mprotect or mmap.
int nul_text_register(uint64_t start, uint64_t end, uint64_t mcount_stub);
/// For a call site that still holds its `e8` call: the module's text around it and the stub that it
/// calls. False if no module lists `ip`, or another byte is there.
bool nul_text_of_call(uint64_t ip, uint64_t *start, uint64_t *end, uint64_t *mcount_stub);

/// What mcount calls with the address of its call; also for tests.
void nul_record_ip(uint64_t ip);
/// hash_long(ip, 10).
uint32_t nul_hash(uint64_t ip);

void nul_mcount_set_mode(int32_t mode);
int32_t nul_mcount_mode_now(void);
uint64_t nul_mcount_calls(void);
uint64_t nul_traced_calls(void);
void nul_counts_clear(void);

/// Waits for a complete cycle that begins after this call; with `now`, makes it begin at once.
/// False if no cycle was complete in time.
bool nul_daemon_wait_cycle(uint32_t timeout_milliseconds, bool now);
/// ftraced_stop: cycles continue, but nothing is converted.
void nul_daemon_set_stopped(bool stopped);

/// Suspends the daemon, and then in one stop converts what is pending and enables sites by the
/// filters. Called again while tracing, it applies changed filters. 0; EINVAL (no engine is
/// attached); EPERM (ftrace has disabled itself); or the error of the stop.
int nul_tracer_start(void);
int nul_tracer_stop(void);

/// Sets or clears NUL_FILTER, NUL_NOTRACE or NUL_FROZEN. False if no record has this ip. If any
/// record has NUL_FILTER, only records with NUL_FILTER are enabled.
bool nul_record_mark(uint64_t ip, uint64_t flag, bool on);
void nul_filters_clear(void);

/// Releases every record in [start, end) and forgets the texts inside it. It first unlinks the
/// records, marks them FREE and FAILED, waits for the readers, and only then recycles. Returns how
/// many.
size_t nul_release(uint64_t start, uint64_t end);
/// Releases every registered text that the loader no longer lists. Returns the number of records.
size_t nul_release_vanished(void);
/// The npc_loader_callback that calls the release.
void nul_loader_event(int event, void *context);

void nul_daemon_get_stats(nul_daemon_stats *stats);
bool nul_record_find(uint64_t ip, nul_record_info *info);
/// The last patch of this ip that is still in the log.
bool nul_last_patch(uint64_t ip, nul_patch_entry *entry);
/// Copies the log's last `capacity` entries, oldest first; returns how many.
size_t nul_patch_log(nul_patch_entry *entries, size_t capacity);
/// Copies addresses of skipped calls (at most NUL_MAX_SKIPPED are kept); returns how many.
size_t nul_skipped(uint64_t *ips, size_t capacity);

/// The patch primitive, as in 2.6.27: `lock cmpxchg` of four bytes, then a store of the fifth.
/// `*found` gets the four bytes found, if it did not fault. NUL_PATCH_*. The fault fix-up is
/// installed once an engine was attached.
int nul_patch_code(uint8_t *ip, const uint8_t expected[NUL_SITE_LENGTH],
                   const uint8_t replacement[NUL_SITE_LENGTH], uint32_t *found);

#endif
