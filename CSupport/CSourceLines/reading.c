// SPDX-License-Identifier: Apache-2.0
//
// A function's line is where its definition says that it is (DW_AT_decl_line): the line with its
// name, also where the brace is on another one. Where DWARF has no such function (compiled with
// -gline-tables-only or -g1, assembled), it is the line of its first instruction.

#include <stdio.h>

#include "source_lines.h"

typedef struct reader {
  const nsl_dwarf *dwarf;
  nsl_names *names;
  const nsl_module *module;
  nsl_line *lines;
} reader;

// A relative name belongs to the folder of the compilation. libdw does not always join the two.
static const char *absolute(const reader *reader, Dwarf_Die *unit, const char *name, char *joined,
                            size_t size) {
  Dwarf_Attribute attribute;
  if (name[0] == '/') return name;
  if (reader->dwarf->attr_integrate(unit, DW_AT_comp_dir, &attribute) == NULL) return name;
  const char *folder = reader->dwarf->formstring(&attribute);
  if (folder == NULL) return name;
  int length = snprintf(joined, size, "%s/%s", folder, name);
  return length > 0 && (size_t)length < size ? joined : name;
}

static bool set(reader *reader, Dwarf_Die *unit, uint32_t index, const char *name, int line) {
  char joined[NSL_LONGEST_NAME + 1];
  if (name == NULL || line <= 0) return false;
  name = absolute(reader, unit, name, joined, sizeof joined);
  int64_t file = nsl_name(reader->names, name);
  if (file < 0) return false;
  reader->lines[index].file = (uint32_t)file;
  __atomic_store_n(&reader->lines[index].line, (uint32_t)line, __ATOMIC_RELEASE);
  return true;
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

static bool use_definition(void *context, Dwarf_Die *unit, Dwarf_Die *die, uint32_t index) {
  reader *reader = context;
  int line = 0;
  return reader->dwarf->decl_line(die, &line) == 0 &&
         set(reader, unit, index, definition_file(reader->dwarf, die), line);
}

static void use_first_line(void *context, Dwarf_Die *unit, uint32_t index) {
  reader *reader = context;
  int number = 0;
  Dwarf_Line *line = reader->dwarf->getsrc_die(unit, reader->module->addresses[index]);
  if (line != NULL && reader->dwarf->lineno(line, &number) == 0)
    set(reader, unit, index, reader->dwarf->linesrc(line, NULL, NULL), number);
}

void nsl_read_module(const nsl_dwarf *dwarf, nsl_names *names, const nsl_module *module,
                     nsl_line *lines) {
  reader reader = {dwarf, names, module, lines};
  const nsl_visitor visitor = {&reader, use_definition, use_first_line};
  nsl_visit_functions(dwarf, module, &visitor);
}
