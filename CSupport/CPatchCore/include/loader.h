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

/// Called with the loader's load lock and the patch lock held. Between NPC_LOADER_DELETING and
/// NPC_LOADER_DELETED the patch lock is not let go, so that nobody patches while memory changes
/// hands.
typedef void (*npc_loader_callback)(int event, void *context);

/// Set-up, after npc_patch_prepare or its quiet form. Plants the jump, verified like any poke. 0;
/// EBUSY (the bytes are not the loader's: a debugger's breakpoint, another agent); ENOTSUP (no room
/// at r_brk); or an errno.
int npc_loader_hook_install(npc_verifier verify, void *verifier);
bool npc_loader_hook_installed(void);
/// Whether another copy of this code, in this process, has planted its own.
bool npc_loader_hook_is_anothers(void);
/// Where the jump stands and its original bytes, for the journal; false if it is not planted.
bool npc_loader_hook_poke(npc_poke *poke);
/// How many modules the loader listed when it was last seen at rest. During NPC_LOADER_ADDED the
/// modules from this place on, in the order of npc_modules_visit, are the ones that come now and
/// have run none of their code; of those before it any code may run. 0 before the jump is first
/// planted. After it was taken out: what the count was then.
size_t npc_loader_listed_before(void);
/// Takes the jump out. 0 or an errno.
int npc_loader_hook_remove(void);

/// Adds a callback; those are called in the order of adding. At most 8; 0 or ENOSPC.
int npc_loader_subscribe(npc_loader_callback callback, void *context);
void npc_loader_unsubscribe(npc_loader_callback callback, void *context);

#endif
