// SPDX-License-Identifier: Apache-2.0
//
// Pokes and transactions.
//
//   poke         expected bytes -> new bytes at one site
//   transaction  a set of pokes of one module, applied all or none
//   protocol     what makes a transaction safe while other threads run
//   writer       how bytes reach read-only text
//
// A transaction takes these steps in order. The patch lock and the loader's lock are held
// throughout, and the executing thread blocks every signal except the CPU's own:
//   1. find the module (load bias and build-id), and check that every poke is in its executable
//      segments;
//   2. verify all: the bytes are the expected ones, and the verifier (Capstone) confirms them; the
//      kernel is first asked about every page, if our fault handler is not installed;
//   3. open the text, stop threads if the protocol requires it, and check bytes and PCs again;
//   4. write all, step by step of the protocol, with a core sync after each step;
//   5. read all back; on any failure write the old bytes in the same way;
//   6. close the text, whatever happened; release the threads.
// If a thread was in the way that will soon be gone, all of this is done again after a pause, in
// which no lock is held.

#ifndef NPC_POKE_H
#define NPC_POKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "CInstructionKinds.h"

enum { NPC_SITE_BYTES = 6 };

/// The change of one site. 32 bytes: with the 16 of a call site, the table has 48 bytes per site.
typedef struct npc_poke {
  uint64_t address;                        ///< of the first byte, in this process
  uint64_t target;                         ///< what `expected` refers to; the verifier checks it
  uint8_t expected[NPC_SITE_BYTES];
  uint8_t replacement[NPC_SITE_BYTES];
  uint8_t length;                          ///< 5 or 6
  uint8_t expected_kind;                   ///< what `expected` is: NIK_*
  uint8_t flags;                           ///< NPC_POKE_*
  uint8_t reserved;
} npc_poke;
_Static_assert(sizeof(npc_poke) == 32, "a poke is 32 bytes");

enum {
  /// `expected` is several nops: a thread between them is moved to their end. A `replacement` that
  /// is several nops (90 90 ...) is recognised by its bytes.
  NPC_POKE_RUN_OF_NOPS = 1,
};

/// Confirms that the `length` bytes at `bytes`, standing at `address`, are one instruction of
/// `kind` (NIK_*) with `target`. Must not allocate.
typedef bool (*npc_verifier)(void *context, uint8_t kind, uint8_t length, uint64_t target,
                             uint64_t address, const uint8_t *bytes);

enum {
  NPC_PROTOCOL_AUTOMATIC = 0,     ///< jump guard where all pokes allow it, else stop-machine
  NPC_PROTOCOL_STOP_MACHINE = 1,
  NPC_PROTOCOL_JUMP_GUARD = 2,
  NPC_PROTOCOL_BREAKPOINT = 3,
  NPC_PROTOCOL_NONE = 4,          ///< plain writes: only before the module's first instruction runs
};

enum {
  NPC_WRITER_MPROTECT = 1,        ///< the pages are RWX while they are written
  NPC_WRITER_PROC_MEM = 2,        ///< /proc/self/mem: no page's protection changes
};

/// What went wrong. The phase says when.
enum {
  NPC_OK = 0,
  NPC_MODULE_GONE = 1,       ///< no such module at that load bias, or another build
  NPC_OUTSIDE_TEXT = 2,      ///< a poke outside the module's executable segments
  NPC_BAD_POKE = 3,          ///< not sorted, overlapping, or a length not 5 or 6
  NPC_UNREADABLE = 4,        ///< reading faulted
  NPC_MISMATCH = 5,          ///< the bytes are not the expected ones: `actual`
  NPC_UNCONFIRMED = 6,       ///< the bytes match, but are not the expected instruction
  NPC_UNWRITABLE = 7,        ///< mprotect, open or pwrite refused: `error`
  NPC_NOT_STOPPED = 8,       ///< `thread` did not stop, or blocks SIGTRAP (breakpoint)
  NPC_THREAD_INSIDE = 9,     ///< `thread`, or its vfork child, may be inside a run of nops
  NPC_UNSUITABLE = 10,       ///< the protocol cannot serve this poke (see `index`)
  NPC_READ_BACK = 11,        ///< the bytes written are not the bytes read
  NPC_NO_SYNC = 12,          ///< membarrier refused: `error`
  NPC_STALE = 13,            ///< modules were unloaded since the generation was taken
  NPC_TRAP_TAKEN = 14,       ///< an int3 is needed, and SIGTRAP has another handler
  NPC_RUNS_ALREADY = 15,     ///< its code may run, with sites that jump guard cannot serve (agent)
};

enum {
  NPC_PHASE_PREPARE = 0,
  NPC_PHASE_VERIFY = 1,
  NPC_PHASE_OPEN = 2,
  NPC_PHASE_STOP = 3,
  NPC_PHASE_WRITE = 4,
  NPC_PHASE_READ_BACK = 5,
  NPC_PHASE_CLOSE = 6,
};

typedef struct npc_result {
  int32_t status;                     ///< NPC_OK or what went wrong
  int32_t phase;
  int32_t error;                      ///< errno, where there is one
  int32_t thread;                     ///< thread id, where there is one
  uint64_t index;                     ///< the poke, where there is one
  uint8_t actual[NPC_SITE_BYTES];     ///< the bytes found there
  bool has_index, has_actual;
  bool rolled_back;                   ///< something was written, and all of it was put back
  bool left_changed;                  ///< something was written and could not be put back
  int32_t protocol;                   ///< the one used
  uint32_t stopped, asleep;           ///< threads, under stop-machine
  uint32_t moved;                     ///< how many were moved from the middle of a run to its end
  uint64_t stopped_nanoseconds;       ///< how long they were stopped
} npc_result;

typedef struct npc_transaction {
  const npc_poke *pokes;              ///< sorted by address, none overlapping
  size_t count;
  uint64_t load_bias;
  const uint8_t *build_id;            ///< NULL: the module has none
  uint32_t build_id_length;
  bool check_unloads;                 ///< fail with NPC_STALE if the loader's count is not `subs`
  uint64_t subs;
  int32_t protocol, writer;
  uint32_t stop_timeout_milliseconds; ///< also for vfork children to end; 0: 1000
  npc_verifier verify;                ///< never NULL
  void *verifier;
} npc_transaction;

/// Set-up: the signal handlers, the stop signal, membarrier's registration, fork handlers.
/// Idempotent. 0 or an errno.
int npc_patch_prepare(void);

/// Set-up for a caller that patches only with NPC_PROTOCOL_NONE and the jump guard: fork handlers,
/// and no signal handlers. Every other protocol fails with NPC_UNSUITABLE until npc_patch_prepare
/// has run. Idempotent. 0 or an errno.
int npc_patch_prepare_quiet(void);

/// Executes the transaction; true when every poke is in place. What passes by itself, such as a
/// vfork child that may be inside a run of nops, is waited for, as long as for a thread to stop, and
/// outside of all locks and with no text open. A caller that holds the patch lock would hold it
/// meanwhile; it uses the functions below.
bool npc_transaction_execute(const npc_transaction *transaction, npc_result *result);

/// Tries once, and waits only for threads to stop.
bool npc_transaction_try(const npc_transaction *transaction, npc_result *result);

typedef struct npc_retry { uint64_t nanoseconds, deadline, pause; } npc_retry;
/// For the tries of one transaction, which go on for so long after the first; 0: 1000 milliseconds.
npc_retry npc_retry_begin(uint32_t milliseconds);
/// Whether to try again after `result`. If so, it has waited a little. False after success, too.
bool npc_retry_wait(npc_retry *retry, const npc_result *result);

/// The patch lock: recursive. A thread that unloads a library holds it until the memory is unmapped,
/// while the loader frees memory of its own. So fork does not wait for it: an allocator's fork
/// handler may have taken the allocator's lock before. In a forked child it is free.
void npc_patch_lock(void);
void npc_patch_unlock(void);

/// Between these two calls no child is forked (but by a system call of the program's own): text is
/// half changed, or this thread has the loader's lock, which the child would inherit for ever. All
/// visits of modules block forks. The thread allocates no memory there and waits for no lock but the
/// loader's, and for threads to stop. Recursive. Order of locks: patch lock, this, the loader's.
void npc_block_forks(void);
void npc_allow_forks(void);

/// Whether the jump guard can serve this poke: it is one instruction before and after, and its
/// first two bytes are at an even address and therefore inside one cache line.
bool npc_poke_allows_jump_guard(const npc_poke *poke);

#endif
