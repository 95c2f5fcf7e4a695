// SPDX-License-Identifier: Apache-2.0
//
// What functions take and return, by DWARF, as lines of text with tabs:
//
//   E  NAME=VALUE ...               an enumeration; they are numbered from 0
//   F  INDEX  RESULT  [TYPE  NAME]...    the function of an address
//
// A type says what it is and how the System V ABI passes it, as far as that matters:
//
//   i4 u8       integer, signed and unsigned, and its bytes
//   e4:0 E4:0   enumeration 0
//   c b p s     char, bool, pointer, pointer to char
//   f4 f8 L     float, double, long double
//   S1 S2       reference to a std::string: of libstdc++, of libc++
//   v1 v2       the same by value, which is passed by reference too
//   {II {IS {N  structure in registers: the class of each eightbyte, integer or SSE; N: it takes no room
//   {M24        structure in memory, and its bytes
//   {P          structure by reference, which the caller made
//   ?           nothing is known, neither of those behind it
//   -           void
//
// `@5` behind a parameter's type: by DWARF it is in that register (DWARF's number) when the function
// begins.
//
// Clones whose parameters differ from what DWARF declares are told by the caller, who knows linked names;
// those of LLVM by DW_CC_nocall; and any, where DWARF says that a parameter is elsewhere at the entry.

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "signatures.h"

enum { MOST_PARAMETERS = 32 };

typedef struct request {
  const char *library;
  const nsl_module *module;
  nsl_signatures *shared;
} request;

static bool knows_language(nsl_reader *r, Dwarf_Die *unit) {
  uint64_t language = 0;
  nsl_number_of(r, unit, DW_AT_language, &language);
  switch (language) {
    case DW_LANG_C_plus_plus:
    case DW_LANG_C_plus_plus_03:
    case DW_LANG_C_plus_plus_11:
    case DW_LANG_C_plus_plus_14:
    case DW_LANG_ObjC_plus_plus: r->is_cxx = true; return true;
    case DW_LANG_C89:
    case DW_LANG_C:
    case DW_LANG_C99:
    case DW_LANG_C11:
    case DW_LANG_ObjC: r->is_cxx = false; return true;
    // C17 and C++17 to 20, which older headers of libdw do not name.
    case 0x2c: r->is_cxx = false; return true;
    case 0x2a:
    case 0x2b: r->is_cxx = true; return true;
    default: return false;
  }
}

// The function as it was declared: it has its parameters in their order, those too that the compiler
// found to be unused.
static Dwarf_Die declared(const nsl_reader *r, Dwarf_Die *function) {
  Dwarf_Attribute attribute;
  Dwarf_Die origin;
  if (r->dwarf->attr(function, DW_AT_abstract_origin, &attribute) != NULL &&
      r->dwarf->formref_die(&attribute, &origin) != NULL)
    return origin;
  return *function;
}

// The register of a parameter at the function's first instruction, by DWARF's numbers; -1: it does not
// say.
static int entry_register(const nsl_reader *r, Dwarf_Die *parameter, uint64_t address) {
  Dwarf_Attribute attribute;
  Dwarf_Op *expression;
  size_t length;
  if (r->dwarf->attr(parameter, DW_AT_location, &attribute) == NULL ||
      r->dwarf->getlocation_addr(&attribute, address, &expression, &length, 1) != 1 || length != 1)
    return -1;
  uint8_t atom = expression[0].atom;
  if (atom >= DW_OP_reg0 && atom <= DW_OP_reg31) return atom - DW_OP_reg0;
  return atom == DW_OP_regx && expression[0].number < 64 ? (int)expression[0].number : -1;
}

static uint64_t first_address(const nsl_reader *r, Dwarf_Die *function, uint64_t otherwise) {
  Dwarf_Addr base = 0, start = 0, end = 0;
  for (ptrdiff_t at = 0; (at = r->dwarf->ranges(function, at, &base, &start, &end)) > 0;)
    if (start <= otherwise && otherwise < end) return start;
  return otherwise;
}

static void put_register(nsl_reader *r, Dwarf_Die *function, Dwarf_Die *parameter, uint64_t address) {
  const nsl_dwarf *dwarf = r->dwarf;
  Dwarf_Die concrete, origin;
  Dwarf_Attribute attribute;
  char text[16];
  if (dwarf->child(function, &concrete) != 0) return;
  do {
    if (dwarf->tag(&concrete) != DW_TAG_formal_parameter) continue;
    bool is_it = concrete.addr == parameter->addr ||
                 (dwarf->attr(&concrete, DW_AT_abstract_origin, &attribute) != NULL &&
                  dwarf->formref_die(&attribute, &origin) != NULL &&
                  origin.addr == parameter->addr);
    int number = is_it ? entry_register(r, &concrete, address) : -1;
    if (number < 0) continue;
    snprintf(text, sizeof text, "@%d", number);
    return nsl_put(r, text);
  } while (dwarf->siblingof(&concrete, &concrete) == 0);
}

// `is_changed`: the function takes other parameters than were declared.
static void put_parameters(nsl_reader *r, Dwarf_Die *function, uint64_t site, bool is_changed) {
  Dwarf_Die source = declared(r, function), parameter;
  uint64_t address = first_address(r, function, site);
  int count = 0;
  if (r->dwarf->child(&source, &parameter) != 0) return;
  do {
    if (r->dwarf->tag(&parameter) != DW_TAG_formal_parameter) continue;
    const char *name = r->dwarf->diename(&parameter);
    if (name != NULL && strcmp(name, "__in_chrg") == 0) continue;  // never passed
    bool is_known = !is_changed && (name == NULL || strcmp(name, "__vtt_parm") != 0);
    nsl_put(r, "\t");
    if (is_known) nsl_put_type(r, &parameter);
    else nsl_put(r, "?");
    put_register(r, function, &parameter, address);
    nsl_put(r, "\t");
    nsl_put_name(r, name);
  } while (++count < MOST_PARAMETERS && r->dwarf->siblingof(&parameter, &parameter) == 0);
}

static bool use_function(void *context, Dwarf_Die *unit, Dwarf_Die *function, uint32_t index) {
  nsl_reader *r = context;
  uint64_t convention = 0;
  char text[32];
  bool is_plain = !nsl_number_of(r, function, DW_AT_calling_convention, &convention) ||
                  convention == DW_CC_normal;
  if (!knows_language(r, unit)) return true;
  r->at = r->shared->used;
  snprintf(text, sizeof text, "F\t%u\t", index);
  nsl_put(r, text);
  if (is_plain) nsl_put_type(r, function);
  else nsl_put(r, "?");
  put_parameters(r, function, r->module->addresses[index], !is_plain);
  nsl_end_line(r);
  return true;
}

static void read_module(void *context) {
  const request *request = context;
  nsl_dwarf dwarf;
  if (!nsl_load_dwarf(request->library, &dwarf)) {
    request->shared->result = NSL_NO_LIBRARY;
    return;
  }
  nsl_reader *r = calloc(1, sizeof *r);
  if (r == NULL) {
    request->shared->result = NSL_NO_MEMORY;
    return;
  }
  r->dwarf = &dwarf, r->module = request->module, r->shared = request->shared;
  const nsl_visitor visitor = {r, use_function, NULL};
  nsl_visit_functions(&dwarf, request->module, &visitor);
  request->shared->result = NSL_DONE;
}

nsl_result nsl_read_signatures(const char *library, const nsl_module *module, uint64_t nanoseconds,
                               nsl_text *answer, bool *has_failed) {
  *answer = (nsl_text){.size = sizeof(nsl_signatures)};
  *has_failed = false;
  void *memory = mmap(NULL, answer->size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return NSL_NO_MEMORY;
  nsl_signatures *shared = answer->memory = memory;
  request request = {library, module, shared};
  shared->result = NSL_NO_TIME;
  nsl_result result = nsl_in_child(read_module, &request, nsl_now() + nanoseconds);
  *has_failed = result == NSL_DONE && shared->result == NSL_NO_TIME;
  answer->text = shared->text;
  answer->length = shared->used < NSL_SIGNATURE_BYTES ? shared->used : NSL_SIGNATURE_BYTES;
  return result == NSL_DONE && !*has_failed ? (nsl_result)shared->result : result;
}

void nsl_free_text(nsl_text *answer) {
  if (answer->memory != NULL) munmap(answer->memory, answer->size);
  *answer = (nsl_text){0};
}
