// SPDX-License-Identifier: Apache-2.0
//
// How a set of pokes is written while other threads may run the same text. The writing takes three
// steps (for some thousands of sites at a time). A core sync (membarrier) follows each step, so
// that no CPU mixes the bytes of two steps:
//
//   1. leads   the first bytes of every site become a lead. A thread that arrives then does not
//              execute the bytes behind it. The leads:
//                jump   eb xx, 2 bytes: jumps over the rest;
//                test   a9, 1 byte: `test $imm32, %eax`, whose operand is the rest, whatever it is.
//                       It changes only the flags, which hold nothing at a function's entry;
//                trap   cc, 1 byte: int3; the trap handler does what the old instruction did.
//   2. tails   all bytes behind the lead become the new ones.
//   3. heads   the first bytes become the new ones, in one store of the lead's size.
//
// protocol      lead                                        other threads
// jump guard    jump, at an even address                    run
// breakpoint    trap                                        run
// stop-machine  jump; or one byte, see npc_lead_for: test   stopped; a sleeper that wakes runs
//               where the site has 5 bytes, else trap       into the lead
// none          none: one write                             have never run this text

#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <ucontext.h>

#include "faults.h"
#include "internal.h"
#include "memory_reading.h"

// For the trap handler: the transaction that is being written, how many transactions there were,
// and the pages that ever held one of our int3s. A thread that executed one may enter its handler
// only after many other transactions, of other modules. The pages are kept in a bit filter: it may
// take a page that was never written for one that was, but never the reverse.
static _Atomic(const npc_transaction *) active;
static _Atomic uint32_t readers;
static _Atomic uint64_t published;
enum { FILTER_BITS = 20 };
static _Atomic uint64_t trapped_pages[(1 << FILTER_BITS) / 64];

bool npc_poke_becomes_run(const npc_poke *poke) {
  return poke->replacement[0] == 0x90 && poke->replacement[1] == 0x90;
}

bool npc_poke_has_run(const npc_poke *poke) {
  return poke->flags & NPC_POKE_RUN_OF_NOPS || npc_poke_becomes_run(poke);
}

const npc_poke *npc_poke_before(const npc_transaction *transaction, uint64_t pc) {
  size_t low = 0, high = transaction->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (transaction->pokes[middle].address < pc) low = middle + 1;
    else high = middle;
  }
  return low == 0 ? NULL : &transaction->pokes[low - 1];
}

bool npc_poke_allows_jump_guard(const npc_poke *poke) {
  return poke->address % 2 == 0 && !npc_poke_has_run(poke);
}

npc_lead npc_lead_for(const npc_poke *poke, int32_t protocol, int32_t writer) {
  const npc_lead none = {0}, trap = {1, {0xcc}}, test = {1, {0xa9}};
  const npc_lead jump = {2, {0xeb, (uint8_t)(poke->length - 2)}};
  // Nobody runs into what is half written: the threads have never run it, or another process has
  // stopped all of them.
  if (protocol == NPC_PROTOCOL_NONE) return none;
  if (protocol == NPC_PROTOCOL_STOP_MACHINE && npc_outside_is_used()) return none;
  if (protocol == NPC_PROTOCOL_BREAKPOINT) return trap;
  if (protocol == NPC_PROTOCOL_JUMP_GUARD) return jump;
  // A jump is 2 bytes that must appear at once. That is not certain across fetch blocks (of 16
  // bytes or more), or when the kernel writes them. Nor may the second byte change under a sleeper
  // that woke after the last look at the threads and has run the first nop of a run (docs/model:
  // wide-lead-over-nops).
  bool is_wide = writer != NPC_WRITER_PROC_MEM && poke->address % 16 != 15 && !npc_poke_has_run(poke);
  return is_wide ? jump : poke->length == 5 ? test : trap;
}

bool npc_lead_is_trap(npc_lead lead) { return lead.length == 1 && lead.bytes[0] == 0xcc; }

typedef enum { LEADS, TAILS, HEADS } step;

typedef struct {
  const npc_transaction *transaction;
  const npc_text *text;
  int32_t protocol;
} writing;

static npc_lead lead_of(const writing *w, const npc_poke *poke) {
  return npc_lead_for(poke, w->protocol, w->transaction->writer);
}

static bool write_step(const writing *w, const npc_poke *poke, step which, const uint8_t *bytes) {
  npc_lead lead = lead_of(w, poke);
  size_t length = lead.length;
  switch (which) {
    case LEADS: return length == 0 || npc_text_write(w->text, poke->address, lead.bytes, length);
    case TAILS:
      return npc_text_write(w->text, poke->address + length, bytes + length, poke->length - length);
    default: return length == 0 || npc_text_write(w->text, poke->address, bytes, length);
  }
}

// Whether the bytes are some mixture that this transaction itself writes. Only then may a roll-back
// write there.
static bool is_ours(npc_lead lead, const npc_poke *poke, const uint8_t *actual) {
  if (memcmp(actual, lead.bytes, lead.length) != 0 &&
      memcmp(actual, poke->expected, lead.length) != 0 &&
      memcmp(actual, poke->replacement, lead.length) != 0)
    return false;
  // Tails are written byte by byte, so a fault half-way leaves some bytes of each.
  for (size_t i = lead.length; i < poke->length; i++) {
    if (actual[i] != poke->expected[i] && actual[i] != poke->replacement[i]) return false;
  }
  return true;
}

// Whether a step of a roll-back may write over `actual`. A tail may be written only behind a lead,
// a head only before the old tail. What an earlier step could not write stays as it is.
static bool may_put_back(npc_lead lead, const npc_poke *poke, step which, const uint8_t *actual) {
  if (!is_ours(lead, poke, actual)) return false;
  if (lead.length == 0 || which == LEADS) return true;
  if (which == TAILS) return memcmp(actual, lead.bytes, lead.length) == 0;
  return memcmp(actual + lead.length, poke->expected + lead.length, poke->length - lead.length) == 0;
}

// Called once the leads of a roll-back are written. A thread that woke when the heads were already
// new may be between two new nops, and the old bytes must not appear there. This stops and moves
// such a thread. True if a thread may still be there. `result` keeps the first failure.
static bool may_stand_in_new_run(const writing *w, npc_result *result) {
  if (w->protocol != NPC_PROTOCOL_STOP_MACHINE || !npc_runs_exist(w->transaction, NPC_NEW_RUNS))
    return false;
  npc_stop_report report = {0};
  npc_result ignored = {0};
  bool is_clear = npc_stop_settle(&report) &&
                  npc_runs_clear(w->transaction, NPC_NEW_RUNS, &ignored) &&
                  npc_stop_find_vfork() == 0;
  result->moved += ignored.moved;
  return !is_clear;
}

typedef struct { bool unsynced, wrote_tails, stands_in_new_run; } roll_back_state;

static void roll_back_one(const writing *w, const npc_poke *poke, step which, roll_back_state now) {
  uint8_t actual[NPC_SITE_BYTES];
  npc_lead lead = lead_of(w, poke);
  if (!npc_read_fixed_up(actual, (const void *)poke->address, poke->length)) return;
  bool has_new_tail =
    memcmp(actual + lead.length, poke->replacement + lead.length, poke->length - lead.length) == 0;
  if (which != LEADS && now.stands_in_new_run && npc_poke_becomes_run(poke) && has_new_tail) {
    if (which == HEADS && !now.unsynced && is_ours(lead, poke, actual))
      write_step(w, poke, HEADS, poke->replacement);
    return;
  }
  // Without a core sync, a lead that stays is safe, and half of each code is not. An old head may
  // be written back only before a tail that was never changed. But an int3 must go in any case: no
  // handler would own it, and it would kill the next thread that reaches it.
  bool may_go_on = !now.unsynced || npc_lead_is_trap(lead) || (which == HEADS && !now.wrote_tails);
  if (may_go_on && may_put_back(lead, poke, which, actual))
    write_step(w, poke, which, poke->expected);
}

// Puts the expected bytes back at the first `touched` pokes, by the same steps.
static void roll_back(const writing *w, size_t touched, npc_result *result) {
  roll_back_state now = {0};
  for (step which = LEADS; which <= HEADS; which++) {
    for (size_t i = 0; i < touched; i++) roll_back_one(w, &w->transaction->pokes[i], which, now);
    if (which == TAILS) now.wrote_tails = !now.unsynced;
    if (npc_sync_cores() != 0) now.unsynced = true;
    // Only behind the leads can no further thread enter a site.
    if (which == LEADS) now.stands_in_new_run = may_stand_in_new_run(w, result);
  }
  // Reported only after a check: a page may have become unwritable for good.
  result->rolled_back = true;
  for (size_t i = 0; i < touched; i++) {
    const npc_poke *poke = &w->transaction->pokes[i];
    if (npc_read_site((const void *)poke->address, poke->length) != npc_expected_code(poke))
      result->rolled_back = false;
  }
  result->left_changed = !result->rolled_back;
}

static void fail(npc_result *result, int status, int phase, size_t index, int error) {
  result->status = status;
  result->phase = phase;
  result->index = index;
  result->has_index = true;
  result->error = error;
}

// How many sites go through the three steps together. Their text and pokes stay in a core's own
// cache from step to step (about 300 KiB). The extra core syncs, about 9 us each while other
// threads run, cost less than reading a large library's text from memory three times. Under
// stop-machine all sites go together, so that the threads are looked at again only once, behind the
// leads of all sites.
enum { BATCH = 4096 };

// Other cores hold the cache lines that they execute. Requested early, the lines arrive while
// earlier sites are written. This is only a hint, which never faults (Intel SDM vol. 2, PREFETCHW).
static void claim_ahead(const npc_transaction *transaction, size_t i) {
  enum { AHEAD = 16 };
  if (i + AHEAD < transaction->count)
    __asm__ volatile("prefetchw %0" ::"m"(*(const char *)transaction->pokes[i + AHEAD].address));
}

// Behind the leads no further thread can enter a site. This stops the threads that woke since the
// stop. No thread may be between two nops when the tails are written: such a thread is moved behind
// them.
static bool settle(const writing *w, npc_result *result) {
  const npc_transaction *t = w->transaction;
  npc_stop_report report = {0};
  if (npc_stop_settle(&report))
    return (!npc_runs_exist(t, NPC_OLD_RUNS) || npc_runs_clear(t, NPC_OLD_RUNS, result)) &&
           npc_check_threads(t, result, NPC_PHASE_WRITE);
  result->status = NPC_NOT_STOPPED;
  result->phase = NPC_PHASE_WRITE;
  result->error = report.error;
  result->thread = report.thread;
  return false;
}

// The three steps of pokes [first, end).
static bool write_batch(const writing *w, size_t first, size_t end, size_t *touched,
                        npc_result *result) {
  for (step which = LEADS; which <= HEADS; which++) {
    for (size_t i = first; i < end; i++) {
      const npc_poke *poke = &w->transaction->pokes[i];
      if (which == LEADS) claim_ahead(w->transaction, i);
      if (i >= *touched) *touched = i + 1;
      if (write_step(w, poke, which, poke->replacement)) continue;
      fail(result, NPC_UNWRITABLE, NPC_PHASE_WRITE, i, errno);
      return false;
    }
    int error = npc_sync_cores();
    if (error) {
      fail(result, NPC_NO_SYNC, NPC_PHASE_WRITE, 0, error);
      result->has_index = false;
      return false;
    }
    if (which == LEADS && w->protocol == NPC_PROTOCOL_STOP_MACHINE && !settle(w, result))
      return false;
  }
  return true;
}

static bool write_all(const writing *w, size_t *touched, npc_result *result) {
  size_t count = w->transaction->count;
  size_t batch = w->protocol == NPC_PROTOCOL_STOP_MACHINE ? count : BATCH;
  for (size_t first = 0; first < count; first += batch) {
    size_t end = count - first > batch ? first + batch : count;
    if (!write_batch(w, first, end, touched, result)) return false;
  }
  return true;
}

static bool read_back(const npc_transaction *transaction, npc_result *result) {
  for (size_t i = 0; i < transaction->count; i++) {
    const npc_poke *poke = &transaction->pokes[i];
    uint64_t actual = npc_read_site((const void *)poke->address, poke->length);
    if (actual == npc_replacement_code(poke)) continue;
    bool readable = actual != NPC_NO_CODE;
    fail(result, readable ? NPC_READ_BACK : NPC_UNREADABLE, NPC_PHASE_READ_BACK, i, 0);
    if (readable) memcpy(result->actual, &actual, sizeof result->actual);
    result->has_actual = readable;
    return false;
  }
  return true;
}

void npc_protocol_begin_child(void) { atomic_store(&readers, 0); }

static _Atomic uint64_t *filter_word(uint64_t address, uint64_t *bit) {
  uint64_t hash = (address >> 12) * 0x9e3779b97f4a7c15 >> (64 - FILTER_BITS);
  *bit = (uint64_t)1 << hash % 64;
  return &trapped_pages[hash / 64];
}

static bool may_have_trapped(uint64_t address) {
  uint64_t bit, found = atomic_load(filter_word(address, &bit));
  return found & bit;
}

static void publish(const writing *w) {
  uint64_t page = 0, bit;
  for (size_t i = 0; i < w->transaction->count; i++) {
    const npc_poke *poke = &w->transaction->pokes[i];
    if (poke->address >> 12 == page || !npc_lead_is_trap(lead_of(w, poke))) continue;
    page = poke->address >> 12;
    _Atomic uint64_t *word = filter_word(poke->address, &bit);
    if (!(atomic_load(word) & bit)) atomic_fetch_or(word, bit);
  }
  atomic_fetch_add(&published, 1);
  atomic_store(&active, w->transaction);
}

static void retract(void) {
  atomic_store(&active, NULL);
  while (atomic_load(&readers) != 0) sched_yield();  // the handler takes no lock, so it soon leaves
}

void npc_protocol_write(const npc_transaction *transaction, const npc_text *text, int32_t protocol,
                        npc_result *result) {
  writing w = {transaction, text, protocol};
  size_t touched = 0;
  publish(&w);
  if (!write_all(&w, &touched, result) || !read_back(transaction, result))
    roll_back(&w, touched, result);
  retract();
}

// --- the trap handler -------------------------------------------------------------------------

static const npc_poke *find(const npc_transaction *transaction, uint64_t address) {
  const npc_poke *poke = npc_poke_before(transaction, address + 1);
  return poke && poke->address == address ? poke : NULL;
}

// Does what the expected instruction would have done. Until the heads are written the text still
// means the old bytes; after a roll-back it means them for good.
static void emulate(const npc_poke *poke, ucontext_t *context) {
  greg_t *registers = context->uc_mcontext.gregs;
  const uint8_t *bytes = poke->expected;
  uint64_t next = poke->address + poke->length, destination = 0;
  int32_t displacement;
  memcpy(&displacement, bytes + poke->length - 4, sizeof displacement);
  if (bytes[0] == 0xe8 || (bytes[0] == 0x67 && bytes[1] == 0xe8))
    destination = next + (uint64_t)(int64_t)displacement;
  else if (bytes[0] == 0xff && bytes[1] == 0x15)
    destination = *(const uint64_t *)(next + (uint64_t)(int64_t)displacement);
  if (destination != 0) {
    registers[REG_RSP] -= 8;
    *(uint64_t *)registers[REG_RSP] = next;
  }
  registers[REG_RIP] = (greg_t)(destination ? destination : next);
}

// Handles the int3 of a transaction that is being written.
static bool emulate_active(uint64_t address, void *context) {
  atomic_fetch_add(&readers, 1);
  const npc_transaction *transaction = atomic_load(&active);
  const npc_poke *poke = transaction ? find(transaction, address) : NULL;
  if (poke) emulate(poke, context);
  atomic_fetch_sub(&readers, 1);
  return poke != NULL;
}

// cd 03, `int $3`: the program's own trap.
static bool is_two_byte_trap(uint64_t address) {
  uint8_t byte = 0;
  return npc_read_fixed_up(&byte, (const void *)(address - 1), 1) && byte == 0xcd;
}

bool npc_protocol_trap(int signal, siginfo_t *info, void *context) {
  // Of the kinds of SIGTRAP, only an int3 leaves the pc right behind its byte. After a watchpoint
  // or a performance event the pc may be anywhere.
  if (signal != SIGTRAP || info->si_code != SI_KERNEL) return false;
  uint64_t address = npc_fault_pc(context) - 1, before;
  do {
    before = atomic_load(&published);
    if (emulate_active(address, context)) return true;
    uint8_t byte = 0xcc;
    if (!may_have_trapped(address) || !npc_read_fixed_up(&byte, (const void *)address, 1) ||
        (byte == 0x03 && is_two_byte_trap(address)))
      return false;
    if (byte != 0xcc) {
      // The int3 was ours and is gone: its transaction has finished. Run what is there now.
      npc_fault_set_pc(context, address);
      return true;
    }
    // The int3 is not ours, unless a transaction has begun since the look at the active one.
  } while (atomic_load(&published) != before);
  return false;
}
