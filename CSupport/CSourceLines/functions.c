// SPDX-License-Identifier: Apache-2.0
//
// Finds the functions of a file by addresses in them.
//
// Most of DWARF is about types and variables. So a unit is looked into only if a wanted address is in
// it, and there first at the functions that are in no other function or type, which nearly all are.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source_lines.h"

enum { DEEPEST = 200 };

typedef struct search {
  const nsl_dwarf *dwarf;
  const nsl_module *module;
  const nsl_visitor *visitor;
  uint8_t *done;              // by address
  Dwarf_Die *unit;            // that is being read
  uint32_t missing;           // wanted addresses of the unit that are not done yet
} search;

// The first address at or behind `start`.
static uint32_t lower_bound(const nsl_module *module, uint64_t start) {
  uint32_t low = 0, high = module->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (module->addresses[middle] < start) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Calls `visit` for each wanted address of a DIE's ranges that is not done yet.
typedef void visit(search *search, Dwarf_Die *die, uint32_t index);

static void visit_ranges(search *search, Dwarf_Die *die, visit *visit) {
  const nsl_module *module = search->module;
  Dwarf_Addr base = 0, start = 0, end = 0;
  for (ptrdiff_t at = 0; (at = search->dwarf->ranges(die, at, &base, &start, &end)) > 0;)
    for (uint32_t i = lower_bound(module, start);
         i < module->count && module->addresses[i] < end; i++)
      if (!search->done[i]) visit(search, die, i);
}

static void count_missing(search *search, Dwarf_Die *die, uint32_t index) {
  (void)die;
  (void)index;
  search->missing++;
}

static void use_function(search *search, Dwarf_Die *die, uint32_t index) {
  if (!search->visitor->function(search->visitor->context, search->unit, die, index)) return;
  search->done[index] = 1;
  if (search->missing > 0) search->missing--;
}

static void use_unit(search *search, Dwarf_Die *die, uint32_t index) {
  search->visitor->other(search->visitor->context, die, index);
}

static void find_functions(search *search, Dwarf_Die *parent, bool is_deep, int depth) {
  const nsl_dwarf *dwarf = search->dwarf;
  Dwarf_Die die;
  if (depth > DEEPEST || dwarf->child(parent, &die) != 0) return;
  do {
    switch (dwarf->tag(&die)) {
      case DW_TAG_subprogram:
        visit_ranges(search, &die, use_function);
        if (is_deep) find_functions(search, &die, is_deep, depth + 1);
        break;
      case DW_TAG_namespace:
      case DW_TAG_module:
        find_functions(search, &die, is_deep, depth + 1);
        break;
      case DW_TAG_class_type:
      case DW_TAG_structure_type:
      case DW_TAG_union_type:
      case DW_TAG_lexical_block:
        if (is_deep) find_functions(search, &die, is_deep, depth + 1);
        break;
      default: break;
    }
  } while (search->missing > 0 && dwarf->siblingof(&die, &die) == 0);
}

// `unit` has the ranges. Where the compiler put the rest into a .dwo file, `functions` is from there.
static void read_unit(search *search, Dwarf_Die *unit, Dwarf_Die *functions) {
  search->missing = 0;
  search->unit = unit;
  visit_ranges(search, unit, count_missing);
  if (search->missing > 0) find_functions(search, functions, false, 0);
  if (search->missing > 0) find_functions(search, functions, true, 0);
  if (search->missing > 0 && search->visitor->other != NULL) visit_ranges(search, unit, use_unit);
}

static Dwarf *open_dwarf(const nsl_dwarf *dwarf, const char *path, int *file) {
  // O_NONBLOCK: opening a pipe nobody writes to must not hang; no effect on regular files.
  *file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat status;
  if (*file < 0) return NULL;
  if (fstat(*file, &status) == 0 && S_ISREG(status.st_mode)) {
    Dwarf *open = dwarf->begin(*file, DWARF_C_READ);
    if (open != NULL) return open;
  }
  close(*file);
  return NULL;
}

void nsl_visit_functions(const nsl_dwarf *dwarf, const nsl_module *module,
                         const nsl_visitor *visitor) {
  int file;
  Dwarf *open = open_dwarf(dwarf, module->path, &file);
  if (open == NULL) return;
  search search = {dwarf, module, visitor, calloc(module->count, 1), NULL, 0};
  Dwarf_CU *unit = NULL;
  Dwarf_Die die, split;
  uint8_t type;
  while (search.done != NULL &&
         dwarf->get_units(open, unit, &unit, NULL, &type, &die, &split) == 0) {
    if (type == DW_UT_skeleton && dwarf->tag(&split) != DW_TAG_invalid)
      read_unit(&search, &die, &split);
    else if (type == DW_UT_compile || type == DW_UT_skeleton)
      read_unit(&search, &die, &die);
  }
  free(search.done);
  dwarf->end(open);
  close(file);
}
