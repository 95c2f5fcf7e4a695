// SPDX-License-Identifier: Apache-2.0
//
// Changes one site from one state to another.
//
//     call mcount    e8 rel32          to the module's stub
//     nop            0f 1f 44 00 00
//     call tracer    e8 rel32          to the near trampoline

#include <string.h>

#include "daemon_internal.h"

// The five bytes of a state, and how a decoder decodes them.
static bool encode(uint64_t ip, int state, uint8_t bytes[NUL_SITE_LENGTH], uint8_t *kind,
                   uint64_t *target) {
  static const uint8_t nop[NUL_SITE_LENGTH] = {0x0f, 0x1f, 0x44, 0x00, 0x00};
  const nul_text *text = nul_text_at(ip);
  if (text == NULL) return false;
  if (state == NUL_NOP) {
    memcpy(bytes, nop, NUL_SITE_LENGTH);
    *kind = NIK_NOP;
    *target = 0;
    return true;
  }
  *kind = NIK_CALL;
  *target = state == NUL_CALL_MCOUNT ? text->stub : text->trampoline;
  uint32_t distance = (uint32_t)(*target - (ip + NUL_SITE_LENGTH));
  bytes[0] = 0xe8;
  memcpy(bytes + 1, &distance, sizeof distance);
  return true;
}

// NUL_VERIFIED: reads by ordinary loads, compares and decodes. True: the cmpxchg may follow.
static bool verify(nul_patch_entry *entry, uint8_t kind, uint64_t target) {
  const void *site = (const void *)(uintptr_t)entry->ip;
  if (!npc_read_fixed_up(entry->found, site, NUL_SITE_LENGTH)) {
    entry->result = NUL_PATCH_FAULTED;
    return false;
  }
  entry->found_length = NUL_SITE_LENGTH;
  if (memcmp(entry->found, entry->replacement, NUL_SITE_LENGTH) == 0) {
    entry->result = NUL_PATCH_DONE;
    return false;
  }
  entry->result = NUL_PATCH_MISMATCH;
  return memcmp(entry->found, entry->expected, NUL_SITE_LENGTH) == 0 &&
         nmc_confirms(nul.decoder, kind, NUL_SITE_LENGTH, target, entry->ip, entry->found);
}

static void exchange(nul_patch_entry *entry) {
  uint32_t found = 0;
  entry->executed = true;
  entry->result = (uint8_t)nul_patch_code((uint8_t *)(uintptr_t)entry->ip, entry->expected,
                                          entry->replacement, &found);
  if (entry->found_length == 0 && entry->result != NUL_PATCH_FAULTED) {
    memcpy(entry->found, &found, sizeof found);
    entry->found_length = sizeof found;
  }
}

int nul_patch_site(uint64_t ip, int from, int to, uint8_t purpose) {
  nul_patch_entry *entry = &nul.log[nul.logged % NUL_LOG_ENTRIES];
  memset(entry, 0, sizeof *entry);
  entry->sequence = ++nul.logged;
  entry->ip = ip;
  entry->purpose = purpose;
  entry->result = NUL_PATCH_MISMATCH;
  uint8_t kind = NIK_OTHER, ignored_kind;
  uint64_t target = 0, ignored_target;
  // A record without a text is one for the zap to release: the expected bytes are unknown.
  if (encode(ip, from, entry->expected, &kind, &target) &&
      encode(ip, to, entry->replacement, &ignored_kind, &ignored_target)) {
    if (nul.options.version != NUL_VERIFIED || verify(entry, kind, target)) exchange(entry);
  }
  nul.patches[entry->result]++;
  return entry->result;
}
