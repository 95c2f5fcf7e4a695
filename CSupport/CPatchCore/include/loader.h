// SPDX-License-Identifier: Apache-2.0
//
// The loader's own announcements, with no interposed dlopen or dlclose: `_dl_debug_state` (address
// in r_debug.r_brk) is called with RT_CONSISTENT once new modules are mapped and before their
// constructors, and with RT_DELETE after the destructors and before the unmap (glibc 2.36,
// elf/dl-open.c, elf/dl-close.c). A jump of ours is planted there.

#ifndef NPC_LOADER_H
#define NPC_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "poke.h"

enum {
  NPC_LOADER_ADDED = 1,    ///< modules were mapped and listed; none of their code has run
  NPC_LOADER_DELETING = 2, ///< modules are about to be unmapped; their code has run for the last time
  NPC_LOADER_DELETED = 3,  ///< they are unmapped
};

/// Called with the loader's load lock held; between NPC_LOADER_DELETING and NPC_LOADER_DELETED the
/// patch lock is held too, so that nobody patches while memory changes hands.
typedef void (*npc_loader_callback)(int event, void *context);

/// Set-up. Plants the jump, verified like any poke. 0; EBUSY (the bytes are not the loader's: a
/// debugger's breakpoint, another agent); ENOTSUP (no room at r_brk); or an errno.
int npc_loader_hook_install(npc_verifier verify, void *verifier);
bool npc_loader_hook_installed(void);
/// Where the jump stands and its original bytes, for the journal; false if it is not planted.
bool npc_loader_hook_poke(npc_poke *poke);
/// Takes the jump out. 0 or an errno.
int npc_loader_hook_remove(void);

/// Adds a callback; those are called in the order of adding. At most 8; 0 or ENOSPC.
int npc_loader_subscribe(npc_loader_callback callback, void *context);
void npc_loader_unsubscribe(npc_loader_callback callback, void *context);

/// A module as dl_iterate_phdr lists it.
typedef struct npc_module {
  uint64_t load_bias;
  const char *name;            ///< valid inside the callback only
  const uint8_t *build_id;     ///< in the module's memory; NULL: it has none
  uint32_t build_id_length;
  uint64_t text_start, text_end;  ///< the hull of its executable segments
  uint64_t span_start, span_end;  ///< the hull of all its segments
  uint64_t adds, subs;         ///< the loader's counts
} npc_module;

/// Calls `visit` for every module of this namespace under the loader's write lock, until it
/// returns true; returns whether one did.
bool npc_modules_visit(bool (*visit)(const npc_module *module, void *context), void *context);

/// Maps `length` bytes, readable and writable, within 2 GiB of all of [low, high), never at an
/// address that is in use. NULL with errno where there is no room.
void *npc_map_near(uint64_t low, uint64_t high, size_t length);

#endif
