// SPDX-License-Identifier: Apache-2.0
//
// The loader's own announcements, without interposing dlopen or dlclose. The loader calls
// `_dl_debug_state` (its address is in r_debug.r_brk) with RT_CONSISTENT after it has mapped new
// modules and before it runs their constructors, and with RT_DELETE after the destructors and
// before the unmap (glibc 2.36, elf/dl-open.c, elf/dl-close.c). The hook is a jump written there.

#ifndef NPC_LOADER_H
#define NPC_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "poke.h"

enum {
  NPC_LOADER_ADDED = 1,    ///< modules were mapped and listed; none of their code has run yet
  NPC_LOADER_DELETING = 2, ///< modules are about to be unmapped; their code runs no more
  NPC_LOADER_DELETED = 3,  ///< they are unmapped
};

/// Called with the loader's load lock and the patch lock held. The patch lock is not released
/// between NPC_LOADER_DELETING and NPC_LOADER_DELETED, so that nobody patches while memory is
/// unmapped.
typedef void (*npc_loader_callback)(int event, void *context);

/// Set-up, after npc_patch_prepare or its quiet form. Writes the jump, verified like any poke. 0;
/// EBUSY (the bytes are not the loader's: a debugger's breakpoint, another agent); ENOTSUP (no room
/// at r_brk); or an errno.
int npc_loader_hook_install(npc_verifier verify, void *verifier);
bool npc_loader_hook_installed(void);
/// Whether another copy of this code, in this process, has written its own jump.
bool npc_loader_hook_is_anothers(void);
/// Where the jump is and its original bytes, for the journal; false if there is no jump.
bool npc_loader_hook_poke(npc_poke *poke);
/// How many modules the loader listed when it was last at rest. During NPC_LOADER_ADDED, the
/// modules from this place on, in the order of npc_modules_visit, are the new ones, and none of
/// their code has run. The modules before it may have run code already. 0 before the jump is first
/// written. After the jump was removed: the count at that time.
size_t npc_loader_listed_before(void);
/// Removes the jump. 0 or an errno.
int npc_loader_hook_remove(void);

/// Adds a callback. Callbacks are called in the order of adding. At most 8; 0 or ENOSPC.
int npc_loader_subscribe(npc_loader_callback callback, void *context);
void npc_loader_unsubscribe(npc_loader_callback callback, void *context);

#endif
