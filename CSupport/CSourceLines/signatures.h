// SPDX-License-Identifier: Apache-2.0
//
// The parts of what reads signatures: signatures.c says what they write.

#ifndef SIGNATURES_H
#define SIGNATURES_H

#include "source_lines.h"

enum {
  NSL_SIGNATURE_BYTES = 16 << 20,
  NSL_MOST_ENUMERATIONS = 1024,
};

/// The head of the shared memory.
typedef struct nsl_signatures {
  uint32_t result;            ///< nsl_result
  uint64_t used;              ///< whole lines
  char text[NSL_SIGNATURE_BYTES];
} nsl_signatures;

typedef struct nsl_reader {
  const nsl_dwarf *dwarf;
  const nsl_module *module;
  nsl_signatures *shared;
  uint64_t at;                // behind `used`: the line that is being written
  bool is_cut;                // there was no room for all of it
  const void *enumerations[NSL_MOST_ENUMERATIONS];
  uint32_t enumeration_count;
  bool is_cxx;
} nsl_reader;

// signature_text.c
void nsl_put(nsl_reader *r, const char *text);
void nsl_put_name(nsl_reader *r, const char *name);  ///< without tabs and newlines
void nsl_end_line(nsl_reader *r);

// signature_types.c
/// False: it has no type, which is void.
bool nsl_type_of(const nsl_reader *r, Dwarf_Die *die, Dwarf_Die *type);
/// The same without typedefs, const and the like. False: void, or a type without an end.
bool nsl_bare_type_of(const nsl_reader *r, Dwarf_Die *die, Dwarf_Die *type);
bool nsl_number_of(const nsl_reader *r, Dwarf_Die *die, unsigned int name, uint64_t *number);
/// The type of a parameter or of what a function returns.
void nsl_put_type(nsl_reader *r, Dwarf_Die *die);

// signature_structures.c
void nsl_put_structure(nsl_reader *r, Dwarf_Die *type);

#endif
