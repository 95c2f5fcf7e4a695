// SPDX-License-Identifier: Apache-2.0
//
// The plans of modules that are to be poked when they are loaded, and whether their modules are
// there. The loader's hook (loader.c) calls this file when modules come and go. While the hook's
// jump is removed, the loader's own count of unloads shows whether a module is still there.

#define _GNU_SOURCE
#include "load_plans.h"

#include <string.h>

#include "internal.h"
#include "loader.h"
#include "modules.h"

static npc_load_plan *plans;  // guarded by the patch lock

static bool is_listed(const npc_module *module, void *context) {
  const npc_load_plan *plan = context;
  return module->build_id_length == plan->build_id_length &&
         memcmp(module->build_id, plan->build_id, plan->build_id_length) == 0 &&
         (!plan->loaded || module->load_bias == plan->load_bias);
}

typedef struct { npc_load_plan *plan; size_t place, listed_before; } taking;

static bool take(const npc_module *module, void *context) {
  taking *t = context;
  npc_load_plan *plan = t->plan;
  // Modules without a build-id cannot be distinguished.
  if (t->place++ < t->listed_before || plan->build_id_length == 0 || !is_listed(module, plan))
    return false;
  plan->load_bias = module->load_bias;
  plan->subs = module->subs;
  plan->loaded = true;
  return true;
}

static void apply(npc_load_plan *plan) {
  plan->generation++;
  for (size_t i = 0; i < plan->count; i++) {
    plan->scratch[i] = plan->pokes[i];
    plan->scratch[i].address += plan->load_bias;
    if (plan->scratch[i].target != 0) plan->scratch[i].target += plan->load_bias;
  }
  npc_transaction transaction = {
    .pokes = plan->scratch, .count = plan->count, .load_bias = plan->load_bias,
    .build_id = plan->build_id, .build_id_length = plan->build_id_length,
    .protocol = NPC_PROTOCOL_NONE, .writer = plan->writer,
    .verify = plan->verify, .verifier = plan->verifier,
  };
  npc_transaction_execute(&transaction, &plan->result);
}

void npc_load_plans_apply(size_t listed_before) {
  for (npc_load_plan *plan = plans; plan; plan = plan->next) {
    taking t = {plan, 0, listed_before};
    if (!plan->loaded && npc_modules_visit(take, &t)) apply(plan);
  }
}

static bool read_unloads(const npc_module *module, void *context) {
  *(uint64_t *)context = module->subs;
  return true;
}

static uint64_t count_unloads(void) {
  uint64_t count = 0;
  npc_modules_visit(read_unloads, &count);
  return count;
}

// While the jump is removed, nothing announces unloads. As long as the loader's count of them is
// unchanged, no module has been unloaded.
void npc_load_plans_note_unloads(void) {
  uint64_t count = count_unloads();
  for (npc_load_plan *plan = plans; plan; plan = plan->next) plan->subs = count;
}

// If the count has changed, the module at a plan's place may be another generation.
void npc_load_plans_drop_unannounced(void) {
  uint64_t count = count_unloads();
  for (npc_load_plan *plan = plans; plan; plan = plan->next) plan->loaded &= plan->subs == count;
}

void npc_load_plans_drop_vanished(void) {
  for (npc_load_plan *plan = plans; plan; plan = plan->next) {
    if (plan->loaded && !npc_modules_visit(is_listed, plan)) plan->loaded = false;
  }
}

void npc_load_plan_add(npc_load_plan *plan) {
  npc_patch_lock();
  plan->next = plans;
  plans = plan;
  npc_patch_unlock();
}

static bool is_fresh(const npc_module *module, void *context) {
  const npc_load_plan *plan = context;
  return module->load_bias == plan->load_bias && module->subs == plan->subs &&
         is_listed(module, context);
}

// The patch lock is held from the look at the modules to the new entry, so nothing is unmapped in
// between.
bool npc_load_plan_track(npc_load_plan *plan) {
  npc_patch_lock();
  plan->loaded = npc_modules_visit(is_fresh, plan);
  plan->generation = 1;
  npc_load_plan_add(plan);
  npc_patch_unlock();
  return plan->loaded;
}

bool npc_load_plan_is_loaded(npc_load_plan *plan) {
  npc_patch_lock();
  if (!npc_loader_hook_installed() && plan->loaded) plan->loaded = plan->subs == count_unloads();
  bool loaded = plan->loaded;
  npc_patch_unlock();
  return loaded;
}

void npc_load_plan_remove(npc_load_plan *plan) {
  npc_patch_lock();
  for (npc_load_plan **link = &plans; *link; link = &(*link)->next) {
    if (*link == plan) {
      *link = plan->next;
      break;
    }
  }
  npc_patch_unlock();
}
