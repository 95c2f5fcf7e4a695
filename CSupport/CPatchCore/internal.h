// SPDX-License-Identifier: Apache-2.0
//
// What the patch core's files share.

#ifndef NPC_INTERNAL_H
#define NPC_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "poke.h"
#include "stop.h"

#define NPC_HIDDEN __attribute__((visibility("hidden")))

// access.S
NPC_HIDDEN extern const char npc_read_word_at[], npc_read_byte_at[], npc_read_landing[];
NPC_HIDDEN extern const char npc_write_byte_at[], npc_write_pair_at[], npc_write_landing[];
NPC_HIDDEN extern const char npc_read_site_word_at[], npc_read_site_fifth_at[];
NPC_HIDDEN extern const char npc_read_site_sixth_at[], npc_read_site_landing[];
/// The 5 or 6 bytes at `site`, the first one lowest; NPC_NO_CODE where a load faulted.
NPC_HIDDEN uint64_t npc_read_site(const void *site, size_t length);
#define NPC_NO_CODE UINT64_MAX
/// Stores `replacement` if the word is `expected`; false where it is not, or the access faulted.
NPC_HIDDEN bool npc_swap_word(uint64_t *place, uint64_t expected, uint64_t replacement);
NPC_HIDDEN extern const char npc_swap_word_at[];
NPC_HIDDEN bool npc_write_bytes(void *destination, const void *source, size_t length);
NPC_HIDDEN bool npc_write_pair(void *destination, uint16_t pair);

// text.c: how bytes reach read-only text.
typedef struct npc_text {
  int32_t writer;
  int memory;                       // /proc/self/mem, or -1
  const struct npc_module *module;  // each page is closed with the protection of its segment;
  int protection;                   // NULL: with this one
} npc_text;
/// Opens the pages that hold `pokes`. On failure every page is as it was, and errno is set.
NPC_HIDDEN bool npc_text_open(npc_text *text, const npc_poke *pokes, size_t count);
/// The first poke on a page that the kernel reports as unreadable; `count`: there is none.
NPC_HIDDEN size_t npc_text_find_absent(const npc_poke *pokes, size_t count);
/// Closes them. 0 or the errno of the page that could not be closed.
NPC_HIDDEN int npc_text_close(npc_text *text, const npc_poke *pokes, size_t count);
NPC_HIDDEN bool npc_text_write_memory(const npc_text *text, uint64_t address, const uint8_t *bytes,
                                      size_t length);
/// Stores 1 byte, 2 bytes at once, or more byte by byte. False with errno set. It is inline because
/// it is called three times for each site.
static inline bool npc_text_write(const npc_text *text, uint64_t address, const uint8_t *bytes,
                                  size_t length) {
  if (text->writer == NPC_WRITER_PROC_MEM)
    return npc_text_write_memory(text, address, bytes, length);
  bool stored = length == 2 ? npc_write_pair((void *)address, (uint16_t)(bytes[0] | bytes[1] << 8))
                            : npc_write_bytes((void *)address, bytes, length);
  if (!stored) errno = EFAULT;
  return stored;
}

// The bytes of a poke in the form that npc_read_site returns. Loads eight bytes, all inside the
// poke structure, and masks the rest, so that one instruction compares two codes.
static inline uint64_t npc_code_at(const npc_poke *poke, size_t offset) {
  uint64_t word;
  memcpy(&word, (const char *)poke + offset, sizeof word);
  return word & (((uint64_t)1 << (poke->length * 8)) - 1);
}
static inline uint64_t npc_expected_code(const npc_poke *poke) {
  return npc_code_at(poke, offsetof(npc_poke, expected));
}
static inline uint64_t npc_replacement_code(const npc_poke *poke) {
  return npc_code_at(poke, offsetof(npc_poke, replacement));
}
_Static_assert(offsetof(npc_poke, replacement) + sizeof(uint64_t) <= sizeof(npc_poke), "inside");

// protocol.c: the steps that make a change safe against running threads.
/// Whether the poke's old or new code is several instructions. A thread may be between two of them.
NPC_HIDDEN bool npc_poke_has_run(const npc_poke *poke);
/// Whether the new code is several instructions.
NPC_HIDDEN bool npc_poke_becomes_run(const npc_poke *poke);
/// The last poke that begins before `pc`, or NULL.
NPC_HIDDEN const npc_poke *npc_poke_before(const npc_transaction *transaction, uint64_t pc);
/// What the first bytes of a site become first; length 0: no lead is written.
typedef struct npc_lead { uint8_t length, bytes[2]; } npc_lead;
NPC_HIDDEN npc_lead npc_lead_for(const npc_poke *poke, int32_t protocol, int32_t writer);
NPC_HIDDEN bool npc_lead_is_trap(npc_lead lead);
/// Writes all pokes (leads, tails, heads, with a core sync after each) and reads them back. On
/// failure it puts back what it wrote. `result` gets the status and the poke.
NPC_HIDDEN void npc_protocol_write(const npc_transaction *transaction, const npc_text *text,
                                   int32_t protocol, npc_result *result);
/// The SIGTRAP handler of int3 leads.
NPC_HIDDEN bool npc_protocol_trap(int signal, siginfo_t *info, void *context);

/// A forked child has none of the threads on which the parent's handlers ran.
NPC_HIDDEN void npc_protocol_begin_child(void);

// transaction.c
/// Called with the threads stopped. Checks that no vfork child may be in the middle of what is
/// about to change, and that no sleeper blocks SIGTRAP where an int3 is a lead: executing the int3
/// would kill it. False with `result` filled.
NPC_HIDDEN bool npc_check_threads(const npc_transaction *transaction, npc_result *result,
                                  int phase);

// runs.c
typedef enum { NPC_OLD_RUNS, NPC_NEW_RUNS } npc_run_side;  // of the expected or the new bytes
NPC_HIDDEN bool npc_runs_exist(const npc_transaction *transaction, npc_run_side side);
/// Called with the threads stopped and the leads written. Moves each thread that is in the middle
/// of a run to the run's end; `result->moved` counts them. False, with `result` filled, where a
/// thread may still be in the middle of one.
NPC_HIDDEN bool npc_runs_clear(const npc_transaction *transaction, npc_run_side side,
                               npc_result *result);

// stop.c
// outside_stop.c: the same, where another process stops the threads
NPC_HIDDEN bool npc_outside_is_used(void);
NPC_HIDDEN bool npc_outside_stop(const npc_stop_request *request, npc_stop_report *report);
NPC_HIDDEN bool npc_outside_settle(npc_stop_report *report);
NPC_HIDDEN void npc_outside_resume(void);
NPC_HIDDEN void npc_outside_each(bool (*visit)(const npc_stopped *thread, void *context),
                                 void *context);
NPC_HIDDEN int32_t npc_outside_find_vfork(void);

/// While stopped: whether the time that the stop was given is over.
NPC_HIDDEN bool npc_stop_is_overdue(void);

// signal_frames.c
/// `place` is where the interrupted PC, `pc`, is stored in the frame of a signal handler of
/// `thread`; NULL: the thread has a stack that cannot be searched.
typedef bool (*npc_frame_visitor)(const npc_stopped *thread, uint64_t *place, uint64_t pc,
                                  void *context);
/// While stopped: calls `visit` for every frame of a signal handler on the threads' stacks until it
/// returns false. Frames that are over may be among them. Returns 0; EAGAIN (too many stacks); or
/// the errno of /proc/self/maps.
NPC_HIDDEN int npc_signal_frames_visit(npc_frame_visitor visit, void *context);

// load_plans.c, for the loader's hook; all under the patch lock
/// Applies the plans of new modules, which are listed behind the first `listed_before`.
NPC_HIDDEN void npc_load_plans_apply(size_t listed_before);
/// Drops the modules that are no longer listed.
NPC_HIDDEN void npc_load_plans_drop_vanished(void);
/// Called before the jump is removed: notes the loader's count of unloads.
NPC_HIDDEN void npc_load_plans_note_unloads(void);
/// Called before the jump is put back: drops the modules that may have been unloaded meanwhile.
NPC_HIDDEN void npc_load_plans_drop_unannounced(void);

// transaction.c, for modules.c
/// A visit has got the loader's lock, or has given it back. Forks are blocked.
NPC_HIDDEN void npc_note_visit(bool is_inside);

// loader.c, for the other files
/// In a forked child: no load or unload of the parent's goes on.
NPC_HIDDEN void npc_loader_begin_child(void);

// stop.c, for the other files
NPC_HIDDEN void npc_stop_begin_child(void);
/// Stops the threads that run now and were asleep or not there before; see npc_stop_threads.
NPC_HIDDEN bool npc_stop_settle(npc_stop_report *report);
/// Finds a thread that blocks `signal`: 0 (none) or its id; a negative errno where the threads'
/// masks cannot be read. `asleep_only`: looks only at threads that the stop left asleep.
NPC_HIDDEN int32_t npc_stop_find_blocking(int signal, bool asleep_only);
/// Finds a thread inside vfork or clone. Its child may run our text and is in no list. 0 (none) or
/// its id.
NPC_HIDDEN int32_t npc_stop_find_vfork(void);

#endif
