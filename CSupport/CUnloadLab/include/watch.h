// SPDX-License-Identifier: Apache-2.0
//
// Watched memory: pages on which each access by an ordinary instruction is seen, with its width,
// its direction and the value it left, while the instruction itself runs on the CPU.
//
//   access -> page fault -> SIGSEGV: the instruction is decoded, the pages are opened,
//                           `before` is called, the trap flag is set
//          -> the same instruction runs for real, once
//          -> SIGTRAP:      `after` is called, the pages are closed, counted, logged
//
// The CPU itself reports the direction: bit 1 of the page-fault error code. A locked
// read-modify-write faults once, as a write, and is counted as one read and one write, whatever its
// comparison gave (Intel SDM vol. 2, CMPXCHG: the destination "receives a write cycle without
// regard to the result of the comparison").
//
// Limits:
// - One watch at a time.
// - The pages are open for every thread while one steps. If two threads fault, their accesses are
//   serialised; if a thread finds the pages open, its access is not seen. So a device model has one
//   user thread, or all others are stopped.
// - The kernel's own accesses (a system call's buffer, /proc/self/mem, mprotect) are not seen.
// - A fault handler that was added after the first watch is asked before it (faults.h). If it
//   claims a fault of the stepped instruction and moves its PC, the access counts all the same.
// - A thread with SIGSEGV or SIGTRAP blocked dies at its access.
// - An access that begins below the first watched byte is reported from that byte on.

#ifndef NUL_WATCH_H
#define NUL_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// One instruction's access. A repeated string instruction is one access for each repetition.
typedef struct nul_access {
  uint64_t address;       ///< first watched byte that it touched
  uint64_t offset;        ///< of that byte from the watch's start
  uint64_t pc;            ///< of the instruction
  uint64_t error_code;    ///< of the page fault (Intel SDM vol. 3, 4.7)
  uint64_t value_before;  ///< the bytes before, little-endian; the first 8 of a wider access
  uint64_t value_after;   ///< the bytes after
  uint8_t width;          ///< bytes, clipped to the watch; 0 if Capstone cannot tell
  bool is_read;
  bool is_write;
  bool locked;            ///< `lock` prefix, or xchg, which locks without one
  bool compare_failed;    ///< a compare-and-exchange that found another value: only in `after`
} nul_access;

/// Called in the signal handler with the pages open: signal-safe functions only, no access to
/// other watched memory, no vector registers. Either may be NULL.
typedef struct nul_watch_hooks {
  void (*before)(void *context, const nul_access *access);
  void (*after)(void *context, const nul_access *access);
  void *context;
} nul_watch_hooks;

typedef struct nul_watch_counts {
  uint64_t faults;            ///< accesses: instructions that ran to their end
  uint64_t reads, writes;     ///< a read-modify-write is one of each
  uint64_t unchanged_locked;  ///< locked write cycles that left the value as it was
  uint64_t undecoded;         ///< accesses whose width Capstone could not tell
  uint64_t refused;           ///< faults not served, because mprotect refused
  uint64_t unlogged;          ///< accesses beyond NUL_WATCH_LOG
} nul_watch_counts;

enum { NUL_WATCH_LOG = 1024 };  ///< accesses kept of one watch, the first ones

/// Set-up; allocates on its first use. Watches `length` bytes at `start`, both page-aligned, of a
/// mapping of the caller's, and gives them `protection`: PROT_NONE to see every access, PROT_READ
/// or PROT_READ | PROT_EXEC to see only the writes. Counts and log start at zero.
/// 0, or EINVAL (alignment, empty), EBUSY (another watch is on), ENOSPC (no place left among the
/// fault handlers), ELIBACC (no decoder from Capstone), or mprotect's errno (ENOMEM: not mapped).
int nul_watch_start(void *start, size_t length, int protection, nul_watch_hooks hooks);

/// Set-up. Ends the watch and gives the pages `protection`; counts and log stay. 0 or mprotect's
/// errno; 0 if no watch is on.
int nul_watch_stop(int protection);

nul_watch_counts nul_watch_read_counts(void);

/// The access of that index, from 0 in order of time. False beyond the last one logged.
bool nul_watch_logged(size_t index, nul_access *access);

#endif
