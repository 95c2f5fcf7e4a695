// SPDX-License-Identifier: Apache-2.0
//
// A function's line is where its definition says that it is (DW_AT_decl_line): the line with its
// name, also where the brace is on another one. Where DWARF has no such function (compiled with
// -gline-tables-only or -g1, assembled), it is the line of its first instruction.
//
// Most of DWARF is about types and variables. So a unit is looked into only if a wanted address is in
// it, and there first at the functions that are in no other function or type, which nearly all are.

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source_lines.h"

enum { DEEPEST = 200 };

typedef struct reader {
  const nsl_dwarf *dwarf;
  nsl_names *names;
  const nsl_module *module;
  nsl_line *lines;
  Dwarf_Die *unit;            // that is being read
  uint32_t missing;           // wanted lines of the unit that are not found yet
} reader;

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

// A relative name belongs to the folder of the compilation. libdw does not always join the two.
static const char *absolute(const reader *reader, const char *name, char *joined, size_t size) {
  Dwarf_Attribute attribute;
  if (name[0] == '/') return name;
  if (reader->dwarf->attr_integrate(reader->unit, DW_AT_comp_dir, &attribute) == NULL) return name;
  const char *folder = reader->dwarf->formstring(&attribute);
  if (folder == NULL) return name;
  int length = snprintf(joined, size, "%s/%s", folder, name);
  return length > 0 && (size_t)length < size ? joined : name;
}

static void set(reader *reader, uint32_t index, const char *name, int line) {
  char joined[NSL_LONGEST_NAME + 1];
  if (name == NULL || line <= 0) return;
  name = absolute(reader, name, joined, sizeof joined);
  int64_t file = nsl_name(reader->names, name);
  if (file < 0) return;
  reader->lines[index].file = (uint32_t)file;
  __atomic_store_n(&reader->lines[index].line, (uint32_t)line, __ATOMIC_RELEASE);
  if (reader->missing > 0) reader->missing--;
}

// Calls `visit` for each wanted address of a DIE's ranges that has no line yet.
typedef void visitor(reader *reader, Dwarf_Die *die, uint32_t index);

static void visit_ranges(reader *reader, Dwarf_Die *die, visitor *visit) {
  const nsl_module *module = reader->module;
  Dwarf_Addr base = 0, start = 0, end = 0;
  for (ptrdiff_t at = 0; (at = reader->dwarf->ranges(die, at, &base, &start, &end)) > 0;)
    for (uint32_t i = lower_bound(module, start);
         i < module->count && module->addresses[i] < end; i++)
      if (reader->lines[i].line == 0) visit(reader, die, i);
}

static void count_missing(reader *reader, Dwarf_Die *die, uint32_t index) {
  (void)die;
  (void)index;
  reader->missing++;
}

// The name of the file where a function is defined. libdw's own dwarf_decl_file takes file 0 for none
// (until 0.188 at least), which in DWARF 5 is the unit's first, and fails an assertion where a unit of
// a .dwo file has no table of files.
static const char *definition_file(const nsl_dwarf *dwarf, Dwarf_Die *die) {
  Dwarf_Attribute attribute;
  Dwarf_Word number = 0;
  Dwarf_Die unit;
  Dwarf_Files *files;
  Dwarf_Half version = 0;
  size_t count = 0;
  if (dwarf->attr_integrate(die, DW_AT_decl_file, &attribute) == NULL ||
      dwarf->formudata(&attribute, &number) != 0 ||
      dwarf->cu_die(attribute.cu, &unit, &version, NULL, NULL, NULL, NULL, NULL) == NULL ||
      dwarf->getsrcfiles(&unit, &files, &count) != 0)
    return NULL;
  if (number >= count || (number == 0 && version < 5)) return NULL;
  return dwarf->filesrc(files, number, NULL, NULL);
}

static void use_definition(reader *reader, Dwarf_Die *die, uint32_t index) {
  int line = 0;
  if (reader->dwarf->decl_line(die, &line) == 0)
    set(reader, index, definition_file(reader->dwarf, die), line);
}

static void use_first_line(reader *reader, Dwarf_Die *die, uint32_t index) {
  int number = 0;
  Dwarf_Line *line = reader->dwarf->getsrc_die(die, reader->module->addresses[index]);
  if (line != NULL && reader->dwarf->lineno(line, &number) == 0)
    set(reader, index, reader->dwarf->linesrc(line, NULL, NULL), number);
}

static void find_functions(reader *reader, Dwarf_Die *parent, bool is_deep, int depth) {
  const nsl_dwarf *dwarf = reader->dwarf;
  Dwarf_Die die;
  if (depth > DEEPEST || dwarf->child(parent, &die) != 0) return;
  do {
    switch (dwarf->tag(&die)) {
      case DW_TAG_subprogram:
        visit_ranges(reader, &die, use_definition);
        if (is_deep) find_functions(reader, &die, is_deep, depth + 1);
        break;
      case DW_TAG_namespace:
      case DW_TAG_module:
        find_functions(reader, &die, is_deep, depth + 1);
        break;
      case DW_TAG_class_type:
      case DW_TAG_structure_type:
      case DW_TAG_union_type:
      case DW_TAG_lexical_block:
        if (is_deep) find_functions(reader, &die, is_deep, depth + 1);
        break;
      default: break;
    }
  } while (reader->missing > 0 && dwarf->siblingof(&die, &die) == 0);
}

// `unit` has the ranges. Where the compiler put the rest into a .dwo file, `functions` is from there.
static void read_unit(reader *reader, Dwarf_Die *unit, Dwarf_Die *functions) {
  reader->missing = 0;
  reader->unit = unit;
  visit_ranges(reader, unit, count_missing);
  if (reader->missing > 0) find_functions(reader, functions, false, 0);
  if (reader->missing > 0) find_functions(reader, functions, true, 0);
  if (reader->missing > 0) visit_ranges(reader, unit, use_first_line);
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

void nsl_read_module(const nsl_dwarf *dwarf, nsl_names *names, const nsl_module *module,
                     nsl_line *lines) {
  int file;
  Dwarf *open = open_dwarf(dwarf, module->path, &file);
  if (open == NULL) return;
  reader reader = {dwarf, names, module, lines, NULL, 0};
  Dwarf_CU *unit = NULL;
  Dwarf_Die die, split;
  uint8_t type;
  while (dwarf->get_units(open, unit, &unit, NULL, &type, &die, &split) == 0) {
    if (type == DW_UT_skeleton && dwarf->tag(&split) != DW_TAG_invalid)
      read_unit(&reader, &die, &split);
    else if (type == DW_UT_compile || type == DW_UT_skeleton)
      read_unit(&reader, &die, &die);
  }
  dwarf->end(open);
  close(file);
}
