// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>
#include <string.h>

#include "source_lines.h"

bool nsl_load_dwarf(const char *library, nsl_dwarf *dwarf) {
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) return false;
  const struct { const char *name; void *function; } functions[] = {
    {"dwarf_begin", &dwarf->begin}, {"dwarf_end", &dwarf->end},
    {"dwarf_get_units", &dwarf->get_units}, {"dwarf_child", &dwarf->child},
    {"dwarf_siblingof", &dwarf->siblingof}, {"dwarf_tag", &dwarf->tag},
    {"dwarf_ranges", &dwarf->ranges}, {"dwarf_decl_line", &dwarf->decl_line},
    {"dwarf_attr_integrate", &dwarf->attr_integrate}, {"dwarf_formudata", &dwarf->formudata},
    {"dwarf_formstring", &dwarf->formstring},
    {"dwarf_cu_die", &dwarf->cu_die}, {"dwarf_getsrcfiles", &dwarf->getsrcfiles},
    {"dwarf_filesrc", &dwarf->filesrc}, {"dwarf_getsrc_die", &dwarf->getsrc_die},
    {"dwarf_lineno", &dwarf->lineno}, {"dwarf_linesrc", &dwarf->linesrc},
    {"dwarf_formref_die", &dwarf->formref_die}, {"dwarf_formsdata", &dwarf->formsdata},
    {"dwarf_formflag", &dwarf->formflag}, {"dwarf_diename", &dwarf->diename},
    {"dwarf_attr", &dwarf->attr}, {"dwarf_hasattr", &dwarf->hasattr},
    {"dwarf_getscopes_die", &dwarf->getscopes_die},
    {"dwarf_getlocation_addr", &dwarf->getlocation_addr},
  };
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
    void *function = dlsym(handle, functions[i].name);
    if (function == NULL) return false;
    memcpy(functions[i].function, &function, sizeof function);
  }
  return true;
}
