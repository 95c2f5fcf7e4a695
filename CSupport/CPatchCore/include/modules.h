// SPDX-License-Identifier: Apache-2.0
//
// Modules as the loader lists them.

#ifndef NPC_MODULES_H
#define NPC_MODULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// A module as dl_iterate_phdr lists it.
typedef struct npc_module {
  uint64_t load_bias;
  const char *name;            ///< valid inside the callback only
  const uint8_t *build_id;     ///< in the module's memory; NULL: it has none
  uint32_t build_id_length;
  uint64_t text_start, text_end;  ///< from the first to the last byte of its executable segments
  uint64_t span_start, span_end;  ///< the same for all its segments
  uint64_t adds, subs;         ///< the loader's counts
  uint64_t headers;            ///< where they are in its memory: see npc_listed
  const void *program_headers; ///< `Elf64_Phdr` array, valid inside the callback only
  uint32_t program_header_count;
} npc_module;

/// A module as dl_iterate_phdr lists it, of which nothing has been read yet.
typedef struct npc_listed {
  uint64_t load_bias;
  uint64_t headers;            ///< where its program headers are: no two modules share them
  const char *name;            ///< valid inside the callback only
  uint64_t adds, subs;         ///< the loader's counts
} npc_listed;

/// PROT_* of the executable segment of the module in which all of [address, address + length) lies,
/// and that segment's end; 0: there is none.
int npc_module_text_at(const npc_module *module, uint64_t address, size_t length, uint64_t *end);
/// Whether there is one.
bool npc_module_has_text(const npc_module *module, uint64_t address, size_t length);

/// Calls `visit` for every module of this namespace under the loader's write lock, until it
/// returns true; returns whether one did.
bool npc_modules_visit(bool (*visit)(const npc_module *module, void *context), void *context);

/// The same for those modules that `wants` wants. Reading a module costs several system calls, so
/// who looks for one among many says which by what the list alone has.
bool npc_modules_visit_some(bool (*wants)(const npc_listed *listed, void *context),
                            bool (*visit)(const npc_module *module, void *context), void *context);

/// How many modules this namespace lists, and how many loads there were in all. Reads no module.
typedef struct npc_module_count { size_t listed; uint64_t adds; } npc_module_count;
npc_module_count npc_modules_count(void);

/// A module as a copy that outlives the visit. `name` is cut, NUL-terminated.
typedef struct npc_module_copy {
  uint64_t load_bias, text_start, text_end, span_start, span_end, adds, subs;
  uint32_t build_id_length;  ///< 0: it has none, or a longer one than fits
  uint8_t build_id[64];
  char name[1024];
} npc_module_copy;

/// Copies the modules of this namespace, `capacity` at most, in the loader's order. Returns how
/// many there are.
size_t npc_modules_copy(npc_module_copy *copies, size_t capacity);

#endif
