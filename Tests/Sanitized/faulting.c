// SPDX-License-Identifier: Apache-2.0
//
// The fault dispatcher: our own faults continue at their landings; other faults reach the handlers
// of the program.
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "checks.h"
#include "handlers.h"
#include "specimen.h"
#include "threads.h"

void check_fix_ups(void) {
  CHECK(npc_patch_prepare() == 0);
  uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mprotect(pages + 4096, 4096, PROT_NONE) == 0);
  memset(pages, 0x5a, 4096);
  for (size_t length = 0; length <= 40; length++) {
    uint8_t copy[64] = {0};
    CHECK(npc_read_fixed_up(copy, pages + 4096 - length, length));
    CHECK(length == 0 || (copy[0] == 0x5a && copy[length - 1] == 0x5a && copy[length] == 0));
    CHECK(!npc_read_fixed_up(copy, pages + 4097 - length - 1, length + 1));
  }
  uint64_t word;
  CHECK(!npc_read_fixed_up(&word, NULL, sizeof word));
  munmap(pages, 8192);
}

// In a child that has not installed the dispatcher yet, so that handlers from before are kept.
static int be_signalled(void *context) {
  int kind = *(const int *)context, failures = check_failures;
  CHECK(cts_install_handler(SIGTRAP, kind) == 0);
  CHECK(cts_install_handler(SIGSEGV, kind) == 0);
  CHECK(npc_patch_prepare() == 0 && npc_faults_owns(SIGTRAP) && npc_faults_owns(SIGSEGV));
  uint64_t place = cts_own_int3();
  CHECK(cts_signals_handled() == 1);
  CHECK(kind != CTS_INFO_HANDLER || cts_last_place() == place);
  cts_own_fault();
  CHECK(cts_signals_handled() == 2);
  return check_failures != failures;
}

void check_other_peoples_signals(void) {
  static int kinds[] = {CTS_PLAIN_HANDLER, CTS_INFO_HANDLER};
  for (int i = 0; i < 2; i++) CHECK(cts_run_forked(be_signalled, &kinds[i], 60) == 0);
}
