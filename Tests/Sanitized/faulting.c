// SPDX-License-Identifier: Apache-2.0
//
// The fault dispatcher: our own faults go on at their landings, everybody else's to their owners.
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "checks.h"
#include "handlers.h"
#include "specimen.h"

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

void check_other_peoples_signals(void) {
  static const int kinds[] = {CTS_PLAIN_HANDLER, CTS_INFO_HANDLER};
  for (int i = 0; i < 2; i++) {
    npc_faults_remove();
    struct sigaction trap, fault;
    sigaction(SIGTRAP, NULL, &trap);
    sigaction(SIGSEGV, NULL, &fault);
    CHECK(cts_install_handler(SIGTRAP, kinds[i]) == 0);
    CHECK(cts_install_handler(SIGSEGV, kinds[i]) == 0);
    CHECK(npc_faults_install() == 0);
    uint64_t before = cts_signals_handled(), place = cts_own_int3();
    CHECK(cts_signals_handled() == before + 1);
    CHECK(kinds[i] != CTS_INFO_HANDLER || cts_last_place() == place);
    cts_own_fault();
    CHECK(cts_signals_handled() == before + 2);
    npc_faults_remove();
    sigaction(SIGTRAP, &trap, NULL);
    sigaction(SIGSEGV, &fault, NULL);
    CHECK(npc_faults_install() == 0);
  }
}
