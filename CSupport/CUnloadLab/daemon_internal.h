// SPDX-License-Identifier: Apache-2.0
//
// What the files of the engine share. There is one engine, in one static structure; its memory is
// separate.

#ifndef NUL_DAEMON_INTERNAL_H
#define NUL_DAEMON_INTERNAL_H

#include <stdatomic.h>

#include "CMachineCode.h"
#include "CPatchCore.h"
#include "daemon.h"

#define NUL_HIDDEN __attribute__((visibility("hidden")))

/// 32 bytes, as on a 64-bit kernel. On the free list `ip` is the next free record.
typedef struct nul_record {
  _Atomic(struct nul_record *) next;       // in the bucket
  union {
    _Atomic(struct nul_record *) *back;    // the pointer to this record: a bucket or a `next`
    struct nul_record *limbo;              // the next one waiting for readers, once unlinked
  };
  uint64_t ip;
  uint64_t flags;
} nul_record;

typedef struct nul_page {
  struct nul_page *next;
  uint64_t used;
  nul_record records[NUL_RECORDS_PER_PAGE];
} nul_page;
_Static_assert(sizeof(nul_record) == 32, "a record is 32 bytes");
_Static_assert(sizeof(nul_page) <= 4096, "127 records and their head fit a page");
_Static_assert(sizeof(nul_page) + sizeof(nul_record) > 4096, "and not one more does");

typedef struct nul_text {
  uint64_t start, end;
  uint64_t stub;        // the module's PLT stub of mcount
  uint64_t trampoline;  // within 2 GiB of it: jmp nul_ftrace_caller
} nul_text;

typedef struct nul_engine {
  bool attached;
  nul_daemon_options options;
  nmc_decoder *decoder;                     // NUL_VERIFIED

  _Atomic(nul_record *) buckets[NUL_BUCKETS];
  atomic_flag lock;                         // of the buckets, records, texts and the skipped list
  nul_page *first_page, *current_page;
  void *preallocated;                       // one mapping: the first pages
  size_t preallocated_length;
  nul_record *free_records;

  nul_text texts[NUL_MAX_TEXTS];            // the newest last
  size_t text_count;

  uint64_t skipped[NUL_MAX_SKIPPED];
  size_t skipped_count;

  nul_patch_entry log[NUL_LOG_ENTRIES];     // a ring
  uint64_t logged;

  uint64_t records, pages, conversions, patches[3], released, dropped, limbo, skipped_calls;
  _Atomic uint64_t recursions;
  bool triggered;
  // Under the patch lock:
  bool tracing, filtered, disabled, stopped;
  uint64_t stop_failures;
  npc_stop_report last_stop;
} nul_engine;

extern NUL_HIDDEN nul_engine nul;
extern NUL_HIDDEN int32_t nul_mcount_mode;

// mcount.S
extern NUL_HIDDEN const uint8_t nul_patch_cmpxchg[], nul_patch_landing[];
extern NUL_HIDDEN void nul_ftrace_caller(void);

// daemon_mcount.c: counting and readers
NUL_HIDDEN void nul_mcount_hit(uint64_t ip);
NUL_HIDDEN void nul_traced_hit(uint64_t ip);
NUL_HIDDEN bool nul_readers_wait(uint32_t milliseconds);
NUL_HIDDEN uint64_t nul_last_traced(void);
// Between these two calls, the thread's calls of mcount are not recorded.
NUL_HIDDEN void nul_recursion_enter(void);
NUL_HIDDEN void nul_recursion_leave(void);

// daemon_records.c. The lock spins; its holder runs a few hundred instructions, or has stopped all
// threads.
NUL_HIDDEN void nul_lock(void);
NUL_HIDDEN void nul_unlock(void);
NUL_HIDDEN nul_record *nul_find(uint64_t ip);
NUL_HIDDEN void nul_insert(nul_record *record);
NUL_HIDDEN void nul_unlink(nul_record *record);
NUL_HIDDEN void nul_recycle(nul_record *record);
NUL_HIDDEN int nul_pages_make(uint64_t records);
NUL_HIDDEN void nul_page_spare(void);
NUL_HIDDEN void nul_pages_free(void);

// daemon_texts.c
NUL_HIDDEN const nul_text *nul_text_at(uint64_t ip);
NUL_HIDDEN void nul_texts_forget(uint64_t start, uint64_t end);

// daemon_patch.c: changes one site; the caller has stopped all threads and holds both locks
enum { NUL_CALL_MCOUNT, NUL_NOP, NUL_CALL_TRACER };
NUL_HIDDEN int nul_patch_site(uint64_t ip, int from, int to, uint8_t purpose);

// daemon_convert.c: the caller holds the patch lock
NUL_HIDDEN int nul_convert_pending(void);
NUL_HIDDEN int nul_replace_all(bool enable);

// daemon_thread.c
NUL_HIDDEN int nul_thread_start(uint64_t interval_microseconds);
NUL_HIDDEN void nul_thread_stop(void);
NUL_HIDDEN uint64_t nul_thread_cycles(void);

static inline void nul_spin_pause(unsigned round) {
  if (round % 64 != 63) {
    __builtin_ia32_pause();
    return;
  }
  // sched_yield, inline: the way through libc may use vector registers, which mcount must keep.
  long result = 24;
  __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
}

#endif
