// SPDX-License-Identifier: Apache-2.0
//
// Capstone, loaded at run time. Debian 12 and Ubuntu 24.04 have its version 4, Debian 13 has
// version 5, and one build of nopscope works with both. Their functions are the same. These
// structures differ:
//
//   cs_insn      bytes[] has 16 bytes in version 4 and 24 in version 5: the text after it moves
//   cs_detail    the lists of registers before the x86 part are longer in version 5
//   x86_insn     the numbers of the instructions
//   cs_x86       nothing that a decoder reads
//
// So the header's definitions are used only for cs_insn's first three fields. All other fields of
// cs_insn and cs_detail are found by the offsets of `nmc_capstone_layout`, chosen by what
// cs_version returns. The numbers of instructions are learned by decoding known bytes (decoder.c).

#ifndef CAPSTONE_LIBRARY_H
#define CAPSTONE_LIBRARY_H

#include <capstone/capstone.h>
#include <stdbool.h>
#include <stddef.h>

#include "CMachineCode.h"

/// Where fields are, in bytes from the start of their structure.
typedef struct nmc_capstone_layout {
  int major;        ///< of the version that has it
  size_t mnemonic;  ///< in cs_insn: char[]
  size_t operands;  ///< in cs_insn: char[]
  size_t detail;    ///< in cs_insn: cs_detail *
  size_t x86;       ///< in cs_detail: cs_x86
} nmc_capstone_layout;

/// The functions of a loaded Capstone.
typedef struct nmc_capstone {
  __typeof__(cs_version) *version;
  __typeof__(cs_open) *open;
  __typeof__(cs_close) *close;
  __typeof__(cs_option) *option;
  __typeof__(cs_malloc) *malloc;
  __typeof__(cs_free) *free;
  __typeof__(cs_disasm_iter) *disasm_iter;
  __typeof__(cs_strerror) *strerror;
  const nmc_capstone_layout *layout;
} nmc_capstone;

/// Loads the first of `names` (the last is NULL) that is a Capstone of a known version. False if
/// none is; `reason` (`size` bytes) then gets the reason for each.
bool nmc_capstone_load(const char *const *names, nmc_capstone *capstone, char *reason, size_t size);

/// The process's Capstone, loaded at the first call. NULL, with `*reason`, if there is none.
const nmc_capstone *nmc_capstone_shared(const char **reason);

static inline const char *nmc_capstone_text(const cs_insn *instruction, size_t offset) {
  return (const char *)instruction + offset;
}

static inline const cs_x86 *nmc_capstone_x86(const nmc_capstone_layout *layout,
                                             const cs_insn *instruction) {
  const char *detail = *(const char *const *)nmc_capstone_text(instruction, layout->detail);
  return (const cs_x86 *)(detail + layout->x86);
}

#endif
