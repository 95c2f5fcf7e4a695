// SPDX-License-Identifier: Apache-2.0
//
// What the reading processes share with their parent, and their parts.

#ifndef SOURCE_LINES_H
#define SOURCE_LINES_H

#include <dwarf.h>
#include <elfutils/libdw.h>

#include "CSourceLines.h"

enum { NSL_MOST_FILES = 1 << 16, NSL_TEXT_BYTES = 16 << 20, NSL_LONGEST_NAME = 4096 };

/// The head of the shared memory: the names' places, their text and the lines follow. The reader
/// writes, its parent reads once it has ended.
typedef struct nsl_shared {
  uint32_t result;            ///< nsl_result
  uint32_t current;           ///< the module that is being read
  uint32_t files, text_bytes; ///< how much is used
  uint32_t names[NSL_MOST_FILES];
  char text[NSL_TEXT_BYTES];
  nsl_line lines[];
} nsl_shared;

/// libdw's functions.
typedef struct nsl_dwarf {
  __typeof__(dwarf_begin) *begin;
  __typeof__(dwarf_end) *end;
  __typeof__(dwarf_get_units) *get_units;
  __typeof__(dwarf_child) *child;
  __typeof__(dwarf_siblingof) *siblingof;
  __typeof__(dwarf_tag) *tag;
  __typeof__(dwarf_ranges) *ranges;
  __typeof__(dwarf_decl_line) *decl_line;
  __typeof__(dwarf_attr_integrate) *attr_integrate;
  __typeof__(dwarf_formudata) *formudata;
  __typeof__(dwarf_formstring) *formstring;
  __typeof__(dwarf_cu_die) *cu_die;
  __typeof__(dwarf_getsrcfiles) *getsrcfiles;
  __typeof__(dwarf_filesrc) *filesrc;
  __typeof__(dwarf_getsrc_die) *getsrc_die;
  __typeof__(dwarf_lineno) *lineno;
  __typeof__(dwarf_linesrc) *linesrc;
  __typeof__(dwarf_formref_die) *formref_die;
  __typeof__(dwarf_formsdata) *formsdata;
  __typeof__(dwarf_formflag) *formflag;
  __typeof__(dwarf_diename) *diename;
  __typeof__(dwarf_attr) *attr;
  __typeof__(dwarf_hasattr) *hasattr;
  __typeof__(dwarf_getscopes_die) *getscopes_die;
  __typeof__(dwarf_getlocation_addr) *getlocation_addr;
} nsl_dwarf;

/// False where there is no such library, or where it lacks one of them.
bool nsl_load_dwarf(const char *library, nsl_dwarf *dwarf);

uint64_t nsl_now(void);  ///< nanoseconds, monotonic

/// Runs `work` in a forked process with limits. NSL_DONE: it has ended, or crashed, before the deadline.
nsl_result nsl_in_child(void (*work)(void *context), void *context, uint64_t deadline);

/// What is called for a module's addresses.
typedef struct nsl_visitor {
  void *context;
  /// With the function that an address is in, and its unit. False: another place is to be looked for.
  bool (*function)(void *context, Dwarf_Die *unit, Dwarf_Die *function, uint32_t index);
  /// For the others of a unit; may be NULL.
  void (*other)(void *context, Dwarf_Die *unit, uint32_t index);
} nsl_visitor;

void nsl_visit_functions(const nsl_dwarf *dwarf, const nsl_module *module,
                         const nsl_visitor *visitor);

/// Names of source files that were met, so that each is written once.
typedef struct nsl_names nsl_names;
nsl_names *nsl_names_make(nsl_shared *shared);

/// Its place among the files; -1: there is no room.
int64_t nsl_name(nsl_names *names, const char *name);

/// Finds the lines of one module. `lines` are the module's.
void nsl_read_module(const nsl_dwarf *dwarf, nsl_names *names, const nsl_module *module,
                     nsl_line *lines);

#endif
