// SPDX-License-Identifier: Apache-2.0
//
// Types as signatures.c describes them, but structures.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signatures.h"

enum { MOST_NAMES = 512 };  // of an enumeration

// False: it has no type, which is void.
bool nsl_type_of(const nsl_reader *r, Dwarf_Die *die, Dwarf_Die *type) {
  Dwarf_Attribute attribute;
  return r->dwarf->attr_integrate(die, DW_AT_type, &attribute) != NULL &&
         r->dwarf->formref_die(&attribute, type) != NULL;
}

bool nsl_number_of(const nsl_reader *r, Dwarf_Die *die, unsigned int name, uint64_t *number) {
  Dwarf_Attribute attribute;
  Dwarf_Word word = 0;
  if (r->dwarf->attr_integrate(die, name, &attribute) == NULL ||
      r->dwarf->formudata(&attribute, &word) != 0)
    return false;
  *number = word;
  return true;
}

// Without typedefs, const and the like. False: it is void, or has no end.
static bool bare_type(const nsl_reader *r, Dwarf_Die *type) {
  for (int i = 0; i < 100; i++) {
    switch (r->dwarf->tag(type)) {
      case DW_TAG_typedef:
      case DW_TAG_const_type:
      case DW_TAG_volatile_type:
      case DW_TAG_restrict_type:
      case DW_TAG_atomic_type:
      case DW_TAG_immutable_type:
      case DW_TAG_template_alias: {
        Dwarf_Die inner;
        if (!nsl_type_of(r, type, &inner)) return false;
        *type = inner;
        break;
      }
      default: return true;
    }
  }
  return false;
}

bool nsl_bare_type_of(const nsl_reader *r, Dwarf_Die *die, Dwarf_Die *type) {
  return nsl_type_of(r, die, type) && bare_type(r, type);
}

static bool is_char(const nsl_reader *r, Dwarf_Die *type) {
  uint64_t encoding = 0, bytes = 0;
  const char *name = r->dwarf->diename(type);
  if (r->dwarf->tag(type) != DW_TAG_base_type || !nsl_number_of(r, type, DW_AT_encoding, &encoding) ||
      !nsl_number_of(r, type, DW_AT_byte_size, &bytes) || bytes != 1)
    return false;
  return encoding == DW_ATE_UTF || (name != NULL && strcmp(name, "char") == 0);
}

// 1: libstdc++'s, 2: libc++'s, 0: it is no std::string.
static int string_kind(const nsl_reader *r, Dwarf_Die *type) {
  int tag = r->dwarf->tag(type);
  if (tag != DW_TAG_class_type && tag != DW_TAG_structure_type) return 0;
  const char *name = r->dwarf->diename(type);
  if (name == NULL || strncmp(name, "basic_string<char,", 18) != 0) return 0;
  Dwarf_Die *scopes = NULL;
  int count = r->dwarf->getscopes_die(type, &scopes), kind = 0;
  for (int i = 1; i < count && i <= 2; i++) {
    const char *scope = r->dwarf->tag(&scopes[i]) == DW_TAG_namespace
                            ? r->dwarf->diename(&scopes[i]) : NULL;
    if (scope != NULL && strcmp(scope, "__cxx11") == 0) kind = 1;
    if (scope != NULL && strcmp(scope, "__1") == 0) kind = 2;
  }
  free(scopes);
  return kind;
}

// DWARF's forms do not always say whether a constant is signed.
static int64_t of_bytes(int64_t value, uint64_t bytes, bool is_signed) {
  if (bytes == 0 || bytes >= 8) return value;
  unsigned unused = 64 - 8 * (unsigned)bytes;
  uint64_t high = (uint64_t)value << unused;
  return is_signed ? (int64_t)high >> unused : (int64_t)(high >> unused);
}

static void put_enumeration(nsl_reader *r, Dwarf_Die *type) {
  uint64_t bytes = 0, encoding = 0;
  uint32_t index = 0;
  Dwarf_Die base, name;
  char text[48];
  if (!nsl_number_of(r, type, DW_AT_byte_size, &bytes)) return nsl_put(r, "?");
  while (index < r->enumeration_count && r->enumerations[index] != type->addr) index++;
  bool has_base = nsl_bare_type_of(r, type, &base) && nsl_number_of(r, &base, DW_AT_encoding, &encoding);
  bool is_negative = has_base && encoding == DW_ATE_signed;
  if (index == r->enumeration_count && index < NSL_MOST_ENUMERATIONS) {
    // Its line comes before the function's, of which the beginning is moved behind it.
    char begun[1 << 14];
    uint64_t length = r->at - r->shared->used;
    if (length > sizeof begun) return nsl_put(r, "?");
    memcpy(begun, r->shared->text + r->shared->used, length);
    r->at = r->shared->used;
    nsl_put(r, "E");
    int count = 0;
    if (r->dwarf->child(type, &name) == 0) {
      do {
        Dwarf_Attribute attribute;
        Dwarf_Sword value = 0;
        if (r->dwarf->tag(&name) != DW_TAG_enumerator ||
            r->dwarf->attr(&name, DW_AT_const_value, &attribute) == NULL ||
            r->dwarf->formsdata(&attribute, &value) != 0)
          continue;
        nsl_put(r, "\t");
        nsl_put_name(r, r->dwarf->diename(&name));
        snprintf(text, sizeof text, "=%lld", (long long)of_bytes(value, bytes, is_negative));
        nsl_put(r, text);
      } while (++count < MOST_NAMES && r->dwarf->siblingof(&name, &name) == 0);
    }
    nsl_end_line(r);
    r->enumerations[r->enumeration_count++] = type->addr;
    for (uint64_t i = 0; i < length && r->at < NSL_SIGNATURE_BYTES; i++) r->shared->text[r->at++] = begun[i];
  }
  if (bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8) return nsl_put(r, "?");
  if (index >= NSL_MOST_ENUMERATIONS)
    snprintf(text, sizeof text, "%c%llu", is_negative ? 'i' : 'u', (unsigned long long)bytes);
  else
    snprintf(text, sizeof text, "%c%llu:%u", is_negative ? 'e' : 'E', (unsigned long long)bytes,
             index);
  nsl_put(r, text);
}

static void put_base(nsl_reader *r, Dwarf_Die *type) {
  uint64_t bytes = 0, encoding = 0;
  char text[16], letter = 0;
  if (!nsl_number_of(r, type, DW_AT_byte_size, &bytes) ||
      !nsl_number_of(r, type, DW_AT_encoding, &encoding))
    return nsl_put(r, "?");
  if (is_char(r, type)) return nsl_put(r, "c");
  switch (encoding) {
    case DW_ATE_boolean: return nsl_put(r, bytes == 1 ? "b" : "?");
    case DW_ATE_signed:
    case DW_ATE_signed_char: letter = 'i'; break;
    case DW_ATE_unsigned:
    case DW_ATE_unsigned_char:
    case DW_ATE_UTF: letter = 'u'; break;
    case DW_ATE_float:
      if (bytes == 4 || bytes == 8) letter = 'f';
      else if (bytes == 16) return nsl_put(r, "L");
      break;
    default: break;
  }
  if (letter != 0 && (letter == 'f' || bytes <= 8) &&
      (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8)) {
    snprintf(text, sizeof text, "%c%u", letter, (unsigned)bytes);
    return nsl_put(r, text);
  }
  nsl_put(r, letter != 0 && letter != 'f' && bytes == 16 ? "{II" : "?");
}

static void put_pointer(nsl_reader *r, Dwarf_Die *type) {
  Dwarf_Die target;
  if (!nsl_bare_type_of(r, type, &target)) return nsl_put(r, "p");
  int string = string_kind(r, &target);
  bool is_reference = r->dwarf->tag(type) != DW_TAG_pointer_type;
  if (string != 0) return nsl_put(r, string == 1 ? "S1" : "S2");
  nsl_put(r, !is_reference && is_char(r, &target) ? "s" : "p");
}

void nsl_put_type(nsl_reader *r, Dwarf_Die *die) {
  Dwarf_Die type;
  if (!nsl_type_of(r, die, &type)) return nsl_put(r, "-");
  if (!bare_type(r, &type)) return nsl_put(r, "-");
  switch (r->dwarf->tag(&type)) {
    case DW_TAG_base_type: return put_base(r, &type);
    case DW_TAG_enumeration_type: return put_enumeration(r, &type);
    case DW_TAG_pointer_type:
    case DW_TAG_reference_type:
    case DW_TAG_rvalue_reference_type: return put_pointer(r, &type);
    case DW_TAG_unspecified_type: return nsl_put(r, "p");  // decltype(nullptr)
    case DW_TAG_ptr_to_member_type: {
      Dwarf_Die target;
      bool is_function = nsl_bare_type_of(r, &type, &target) &&
                         r->dwarf->tag(&target) == DW_TAG_subroutine_type;
      return nsl_put(r, is_function ? "{II" : "p");
    }
    case DW_TAG_structure_type:
    case DW_TAG_class_type:
    case DW_TAG_union_type: {
      int string = string_kind(r, &type);
      if (string != 0) return nsl_put(r, string == 1 ? "v1" : "v2");
      return nsl_put_structure(r, &type);
    }
    default: return nsl_put(r, "?");
  }
}
