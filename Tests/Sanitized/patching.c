// SPDX-License-Identifier: Apache-2.0
//
// Transactions: all or none, by every protocol and writer, under running threads, and failures
// half-way.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "CMachineCode.h"
#include "callers.h"
#include "check.h"
#include "checks.h"
#include "sabotage.h"
#include "specimen.h"
#include "threads.h"

static npc_poke there[SPEC_SITES], back[SPEC_SITES];

// Makes the pokes of the sites 0, `step`, 2 * `step` and so on. Returns how many.
static size_t make_pokes(unsigned step) {
  size_t count = 0;
  for (unsigned i = 0; i < SPEC_SITES; i += step) {
    there[count] = spec_arm(spec_site(i), cts_count_entry_address());
    back[count] = spec_disarm(there[count]);
    count++;
  }
  return count;
}

static bool text_is_original(void) {
  static const uint8_t nop[] = {0x0f, 0x1f, 0x44, 0x00, 0x00};
  for (unsigned i = 0; i < SPEC_SITES; i++) {
    uint8_t bytes[5];
    if (!npc_read_fixed_up(bytes, (const void *)spec_site(i), 5) || memcmp(bytes, nop, 5) != 0)
      return false;
  }
  return true;
}

typedef struct { int protocol, writer; } way;
static const way ways[] = {
  {NPC_PROTOCOL_AUTOMATIC, NPC_WRITER_MPROTECT},    {NPC_PROTOCOL_STOP_MACHINE, NPC_WRITER_MPROTECT},
  {NPC_PROTOCOL_BREAKPOINT, NPC_WRITER_MPROTECT},   {NPC_PROTOCOL_AUTOMATIC, NPC_WRITER_PROC_MEM},
  {NPC_PROTOCOL_BREAKPOINT, NPC_WRITER_PROC_MEM},   {NPC_PROTOCOL_JUMP_GUARD, NPC_WRITER_MPROTECT},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

// Protocol `none` is for text that no thread runs, so there are no callers here.
void check_quiet_text(void) {
  CHECK(npc_patch_prepare() == 0);
  size_t count = make_pokes(1);
  for (int writer = NPC_WRITER_MPROTECT; writer <= NPC_WRITER_PROC_MEM; writer++) {
    npc_transaction on = spec_transaction(there, count, NPC_PROTOCOL_NONE, writer);
    npc_transaction off = spec_transaction(back, count, NPC_PROTOCOL_NONE, writer);
    npc_result result;
    uint64_t before = cts_entries();
    CHECK(npc_transaction_execute(&on, &result));
    for (unsigned i = 0; i < SPEC_SITES; i++) CHECK(spec_at(i)(5) == 5 + (int)i);
    CHECK(cts_entries() == before + SPEC_SITES);
    CHECK(!npc_transaction_execute(&on, &result));
    CHECK(result.status == NPC_MISMATCH && result.index == 0 && result.actual[0] == 0xe8);
    CHECK(npc_transaction_execute(&off, &result));
    CHECK(text_is_original());
  }
}

// The jump guard serves only sites at even addresses.
static size_t keep_even(size_t count) {
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    if (!npc_poke_allows_jump_guard(&there[i])) continue;
    there[kept] = there[i];
    back[kept++] = back[i];
  }
  return kept;
}

// Arms and disarms while threads call the functions and one thread sleeps: no result may be wrong,
// and the sleep may not be interrupted.
static void flip(size_t count, way how) {
  cts_call calls[64];
  for (unsigned i = 0; i < 64; i++) calls[i] = (cts_call){spec_at(i * 14), 3, 3 + (int)i * 14};
  npc_transaction on = spec_transaction(there, count, how.protocol, how.writer);
  npc_transaction off = spec_transaction(back, count, how.protocol, how.writer);
  cts_callers *callers = cts_callers_start(calls, 64, 2);
  cts_thread *sleeper = cts_thread_start(CTS_POLLS);
  npc_result result;
  uint64_t made, before = cts_entries();
  for (int i = 0; i < 3; i++) {
    CHECK(npc_transaction_execute(&on, &result));
    uint64_t then = cts_callers_count(callers);
    while (cts_callers_count(callers) < then + 256) usleep(100);
    CHECK(npc_transaction_execute(&off, &result));
  }
  CHECK(cts_thread_stop(sleeper) == 0);
  CHECK(cts_callers_stop(callers, &made) == 0 && made > 0);
  CHECK(cts_entries() > before);
  CHECK(text_is_original());
}

void check_running_text(void) {
  CHECK(npc_patch_prepare() == 0);
  for (int w = 0; w < WAYS; w++) {
    size_t count = make_pokes(1);
    flip(ways[w].protocol == NPC_PROTOCOL_JUMP_GUARD ? keep_even(count) : count, ways[w]);
  }
}

void check_run_of_nops(void) {
  npc_poke on = spec_arm((uint64_t)spec_run, cts_count_entry_address());
  memset(on.expected, 0x90, 5);
  on.expected_kind = NIK_NOP_RUN;
  on.flags = NPC_POKE_RUN_OF_NOPS;
  npc_transaction transaction =
      spec_transaction(&on, 1, NPC_PROTOCOL_STOP_MACHINE, NPC_WRITER_MPROTECT);
  npc_result result;
  cts_call call = {spec_run, 1, 8};
  cts_callers *callers = cts_callers_start(&call, 1, 2);
  CHECK(npc_transaction_execute(&transaction, &result));
  uint64_t made;
  CHECK(cts_callers_stop(callers, &made) == 0);
  npc_poke off = spec_disarm(on);
  transaction.pokes = &off;
  CHECK(npc_transaction_execute(&transaction, &result));
  CHECK(spec_run(1) == 8);
}

void check_refusals(void) {
  npc_poke pokes[2] = {spec_arm(spec_site(1), cts_count_entry_address()),
                       spec_arm(spec_site(2), cts_count_entry_address())};
  npc_transaction t = spec_transaction(pokes, 2, NPC_PROTOCOL_AUTOMATIC, NPC_WRITER_MPROTECT);
  npc_result result;
  npc_poke good = pokes[1];
  pokes[1].expected[4] = 1;
  CHECK(!npc_transaction_execute(&t, &result) && result.status == NPC_MISMATCH);
  pokes[1] = good, pokes[1].expected_kind = NIK_CALL;
  CHECK(!npc_transaction_execute(&t, &result) && result.status == NPC_UNCONFIRMED);
  pokes[1] = good, pokes[1].length = 7;
  CHECK(!npc_transaction_execute(&t, &result) && result.status == NPC_BAD_POKE);
  pokes[1] = good, pokes[1].address = pokes[0].address + 4;
  CHECK(!npc_transaction_execute(&t, &result) && result.status == NPC_BAD_POKE);
  pokes[1] = good, pokes[1].address = UINT64_MAX - 2;
  CHECK(!npc_transaction_execute(&t, &result) && result.status == NPC_OUTSIDE_TEXT);
  pokes[1] = good, t.load_bias += 4096;
  CHECK(!npc_transaction_execute(&t, &result) && result.status == NPC_MODULE_GONE);
  t.load_bias -= 4096, t.check_unloads = true, t.subs = UINT64_MAX;
  CHECK(!npc_transaction_execute(&t, &result) && result.status == NPC_STALE);
  t.check_unloads = false;
  CHECK(text_is_original());
}

// When the last site is verified, its page is replaced by one that cannot be written.
void check_roll_back(void) {
  CHECK(npc_patch_prepare() == 0);
  size_t count = make_pokes(1);
  uint64_t page = there[count - 1].address & ~4095ull;
  int file = memfd_create("page", MFD_CLOEXEC);
  CHECK(ftruncate(file, 4096) == 0 && pwrite(file, (void *)page, 4096, 0) == 4096);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  int read_only = open(path, O_RDONLY | O_CLOEXEC);
  static const int protocols[] = {NPC_PROTOCOL_NONE, NPC_PROTOCOL_STOP_MACHINE,
                                  NPC_PROTOCOL_BREAKPOINT};
  for (int p = 0; p < 3; p++) {
    for (int writer = NPC_WRITER_MPROTECT; writer <= NPC_WRITER_PROC_MEM; writer++) {
      npc_transaction on = spec_transaction(there, count, protocols[p], writer);
      cts_saboteur saboteur = {.inner = on.verify, .inner_context = on.verifier,
                               .when = there[count - 1].address, .deed = CTS_REPLACE_PAGE,
                               .page = page, .file = read_only};
      on.verify = cts_sabotage;
      on.verifier = &saboteur;
      npc_result result;
      CHECK(!npc_transaction_execute(&on, &result) && result.status == NPC_UNWRITABLE);
      CHECK(!result.left_changed && result.rolled_back == (writer == NPC_WRITER_PROC_MEM));
      CHECK(text_is_original());
    }
  }
  // Later checks must be able to write there again.
  CHECK(mmap((void *)page, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, 0) ==
        (void *)page);
  close(read_only);
  close(file);
}

// A byte changes, or its page is unmapped, after Capstone has confirmed the bytes and before the
// write.
void check_second_look(void) {
  size_t count = make_pokes(1);
  uint64_t address = there[count - 1].address, page = address & ~4095ull;
  uint8_t copy[4096];
  memcpy(copy, (void *)page, sizeof copy);
  uint8_t *alias = cts_share_page(page);
  CHECK(alias != NULL);
  for (int writer = NPC_WRITER_MPROTECT; writer <= NPC_WRITER_PROC_MEM; writer++) {
    npc_transaction on = spec_transaction(there, count, NPC_PROTOCOL_STOP_MACHINE, writer);
    cts_saboteur saboteur = {.inner = on.verify, .inner_context = on.verifier, .when = address,
                             .deed = CTS_CHANGE_BYTE, .page = page,
                             .alias = alias + (address - page)};
    on.verify = cts_sabotage;
    on.verifier = &saboteur;
    npc_result result;
    CHECK(!npc_transaction_execute(&on, &result) && result.status == NPC_MISMATCH);
    CHECK(result.index == count - 1 && result.actual[0] == 0xcc && !result.rolled_back);
    memcpy(alias, copy, sizeof copy);
    saboteur.deed = CTS_UNMAP_PAGE;
    CHECK(!npc_transaction_execute(&on, &result));
    CHECK(result.status == NPC_UNREADABLE || result.status == NPC_UNWRITABLE);
    int flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS;
    CHECK(mmap((void *)page, 4096, PROT_READ | PROT_WRITE, flags, -1, 0) == (void *)page);
    memcpy((void *)page, copy, sizeof copy);
    CHECK(mprotect((void *)page, 4096, PROT_READ | PROT_EXEC) == 0);
    CHECK(text_is_original());
    if (writer == NPC_WRITER_MPROTECT) {
      munmap(alias, 4096);
      alias = cts_share_page(page);
    }
  }
  munmap(alias, 4096);
}

typedef struct { npc_poke on, off; } toggle;

static void *toggle_on(void *context) {
  toggle *own = context;
  npc_transaction on = spec_transaction(&own->on, 1, NPC_PROTOCOL_AUTOMATIC, NPC_WRITER_MPROTECT);
  on.stop_timeout_milliseconds = 20000;
  npc_transaction off = on;
  npc_result result;
  off.pokes = &own->off;
  for (int i = 0; i < 100; i++) {
    CHECK(npc_transaction_execute(&on, &result));
    CHECK(npc_transaction_execute(&off, &result));
  }
  return NULL;
}

// Two threads patch at once: the patch lock protects all state that the core keeps between
// transactions.
void check_two_patchers(void) {
  CHECK(npc_patch_prepare() == 0);
  toggle toggles[2];
  pthread_t other;
  for (unsigned i = 0; i < 2; i++) {
    toggles[i].on = spec_arm(spec_site(2 + 64 * i), cts_count_entry_address());
    toggles[i].off = spec_disarm(toggles[i].on);
    // Makes the verifier before the second thread starts.
    spec_transaction(&toggles[i].on, 1, NPC_PROTOCOL_AUTOMATIC, NPC_WRITER_MPROTECT);
  }
  CHECK(pthread_create(&other, NULL, toggle_on, &toggles[1]) == 0);
  toggle_on(&toggles[0]);
  pthread_join(other, NULL);
  CHECK(text_is_original());
}

// Children that are forked during transactions can patch too.
void check_forks(void) {
  CHECK(npc_patch_prepare() == 0);
  size_t count = make_pokes(16);
  npc_transaction on = spec_transaction(there, count, NPC_PROTOCOL_AUTOMATIC, NPC_WRITER_MPROTECT);
  npc_transaction off = spec_transaction(back, count, NPC_PROTOCOL_AUTOMATIC, NPC_WRITER_MPROTECT);
  cts_forker *forker = cts_forker_start(&on, &off);
  npc_result result;
  for (int i = 0; i < 40; i++) {
    // A child may be forked between the two. It finds the sites armed.
    npc_patch_lock();
    CHECK(npc_transaction_execute(&on, &result));
    CHECK(npc_transaction_execute(&off, &result));
    npc_patch_unlock();
    usleep(1000);
  }
  uint64_t children;
  CHECK(cts_forker_stop(forker, &children) == 0 && children > 0);
  CHECK(text_is_original());
}
