// SPDX-License-Identifier: Apache-2.0
//
// Pokes for modules that are not loaded yet: the loader's hook (loader.h) applies them before a
// module's first instruction runs.

#ifndef NPC_LOAD_PLANS_H
#define NPC_LOAD_PLANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "poke.h"

/// What is to be poked into a module as soon as it is listed, before its first instruction runs.
/// Its owner keeps the plan, and what it points to, alive until it removes the plan.
typedef struct npc_load_plan {
  const uint8_t *build_id;
  uint32_t build_id_length;
  const npc_poke *pokes;       ///< their addresses and targets are link-time addresses
  size_t count;
  npc_poke *scratch;           ///< room for `count` pokes: the same, with run-time addresses
  int32_t writer;
  npc_verifier verify;
  void *verifier;
  // Written by the loader's hook:
  bool loaded;                 ///< the module is listed, at `load_bias`
  uint64_t load_bias;
  uint64_t subs;               ///< the loader's count of unloads when the module came, or when
                               ///< the jump was removed: it must not change after that
  uint32_t generation;         ///< how often it came
  npc_result result;           ///< of the pokes of this generation
  struct npc_load_plan *next;
} npc_load_plan;

/// Set-up. From now on the plan is applied, with NPC_PROTOCOL_NONE, whenever its module is loaded.
/// When the module is unloaded, `loaded` becomes false before anybody can patch again. The plan is
/// not applied to a module that was loaded before and whose code may run at any moment. A plan
/// without a build-id is never applied.
void npc_load_plan_add(npc_load_plan *plan);
/// The same for a plan without pokes whose module is loaded already, at `load_bias`, and was looked
/// at when the loader had unloaded `subs` modules; this is its first generation. False: the module
/// is gone, or may have been replaced, because something has been unloaded since.
bool npc_load_plan_track(npc_load_plan *plan);
/// Whether its module is there. While the jump is removed: only if nothing has been unloaded since.
bool npc_load_plan_is_loaded(npc_load_plan *plan);
void npc_load_plan_remove(npc_load_plan *plan);

#endif
