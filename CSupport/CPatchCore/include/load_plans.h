// SPDX-License-Identifier: Apache-2.0
//
// Pokes for modules that are still to come: the loader's hook (loader.h) applies them before a
// module's first instruction runs.

#ifndef NPC_LOAD_PLANS_H
#define NPC_LOAD_PLANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "poke.h"

/// What is to be poked into a module as soon as it is listed, before its first instruction runs.
/// The owner keeps it, and what it points to, alive until it is removed.
typedef struct npc_load_plan {
  const uint8_t *build_id;
  uint32_t build_id_length;
  const npc_poke *pokes;       ///< addresses and targets are link-time addresses
  size_t count;
  npc_poke *scratch;           ///< room for `count` pokes: the same ones, at run-time addresses
  int32_t writer;
  npc_verifier verify;
  void *verifier;
  // Written by the loader hook:
  bool loaded;                 ///< the module is listed; `load_bias` is its own
  uint64_t load_bias;
  uint64_t subs;               ///< the loader's count of unloads when it came, or when the jump was
                               ///< taken out: from then on it has to stand
  uint32_t generation;         ///< how often it came
  npc_result result;           ///< of the pokes of this generation
  struct npc_load_plan *next;
} npc_load_plan;

/// Set-up. From now on the plan is applied, with NPC_PROTOCOL_NONE, whenever the module comes; when
/// it goes, `loaded` becomes false before anybody can patch again. It is not applied to a module
/// that was loaded before, whose code may run at any moment; nor is a plan without a build-id.
void npc_load_plan_add(npc_load_plan *plan);
/// The same for a plan without pokes of a module that is loaded, at `load_bias`, and was looked at
/// when the loader had unloaded `subs` modules: its first generation. False: not there any more,
/// or another may be, for something has been unloaded since.
bool npc_load_plan_track(npc_load_plan *plan);
/// Whether its module is there. With the jump out: only while nothing has been unloaded since.
bool npc_load_plan_is_loaded(npc_load_plan *plan);
void npc_load_plan_remove(npc_load_plan *plan);

#endif
