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
/// During NPC_LOADER_ADDED: modules that the loader lists from this place on have run none of their
/// code; of those before it this is not known. 0 as long as the hook was never there.
size_t npc_loader_listed_before(void);
/// Takes the jump out. 0 or an errno.
int npc_loader_hook_remove(void);

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
  const void *program_headers; ///< `Elf64_Phdr` array, valid inside the callback only
  uint32_t program_header_count;
} npc_module;

/// PROT_* of the executable segment of the module in which all of [address, address + length) lies,
/// and that segment's end; 0: there is none.
int npc_module_text_at(const npc_module *module, uint64_t address, size_t length, uint64_t *end);
/// Whether there is one.
bool npc_module_has_text(const npc_module *module, uint64_t address, size_t length);

/// How many modules were listed when the loader was last seen at rest: of those, in the order of
/// npc_modules_visit, any code may run. 0 before the jump is planted.
size_t npc_loader_listed_before(void);

/// Calls `visit` for every module of this namespace under the loader's write lock, until it
/// returns true; returns whether one did.
bool npc_modules_visit(bool (*visit)(const npc_module *module, void *context), void *context);

/// How many modules this namespace lists, and how many loads there were in all. Reads no module.
typedef struct npc_module_count { size_t listed; uint64_t adds; } npc_module_count;
npc_module_count npc_modules_count(void);

/// A module as a copy that outlives the visit. `name` is cut, NUL-terminated.
typedef struct npc_module_record {
  uint64_t load_bias, text_start, text_end, span_start, span_end, adds, subs;
  uint32_t build_id_length;  ///< 0: it has none, or a longer one than fits
  uint8_t build_id[64];
  char name[1024];
} npc_module_record;

/// Copies the modules of this namespace, `capacity` at most, in the loader's order. Returns how
/// many there are.
size_t npc_modules_copy(npc_module_record *records, size_t capacity);

/// Maps `length` bytes, readable and writable, within 2 GiB of all of [low, high), never at an
/// address that is in use. NULL with errno where there is no room.
void *npc_map_near(uint64_t low, uint64_t high, size_t length);

#endif
