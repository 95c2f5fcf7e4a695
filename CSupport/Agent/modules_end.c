// SPDX-License-Identifier: Apache-2.0
//
// The end of a recording in a process that runs on: all sites become what their files have.

#include "known_modules.h"

static void restore(known_module *one, nag_ending *ending) {
  nrec_applied applied;
  uint32_t restored = nag_sites_restore(&one->module, one->plan, one->plan_count, one->stubs, &applied);
  ending->restored += restored;
  // Gone: a debugger's breakpoint was on the hook, and nobody has told of the unload.
  if (applied.status == NPC_OK || applied.status == NPC_MODULE_GONE) {
    nag_known_drop_plan(one);
    return;
  }
  for (uint32_t i = 0; i < one->plan_count; i++)
    ending->left += one->plan[i].action == NREC_ACTION_ARM || one->plan[i].action == NREC_ACTION_NOP;
  if (ending->error == 0) ending->error = applied.status;
}

void nag_modules_restore(nag_ending *ending) {
  for (uint32_t i = 0; i < known_count; i++)
    if (known[i].plan != NULL && known[i].generation != 0) restore(&known[i], ending);
}

uint32_t nag_modules_stubs(npc_code_range *ranges, uint32_t room) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < known_count; i++) {
    if (known[i].stubs == NULL) continue;
    uint64_t start = (uint64_t)known[i].stubs;
    if (count < room) ranges[count] = (npc_code_range){start, start + known[i].stub_bytes};
    count++;
  }
  return count;
}

void nag_modules_forget(void) {
  for (uint32_t i = 0; i < known_count; i++) {
    // Where sites are left that call them, they stay.
    bool is_left = known[i].plan != NULL;
    nag_known_drop_plan(&known[i]);
    if (!is_left && known[i].stubs != NULL) nag_unmap(known[i].stubs, known[i].stub_bytes);
  }
  known_count = 0;
}
