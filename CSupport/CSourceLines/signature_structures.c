// SPDX-License-Identifier: Apache-2.0
//
// How the System V ABI passes a structure by value (psABI, 3.2.3), and a class of C++ (Itanium C++ ABI,
// 3.1.2.3): by reference where its copy constructor, its move constructor or its destructor is not
// trivial. clang says so in DWARF. gcc does not: there it follows from the members, as far as these say.

#include <stdio.h>
#include <string.h>

#include "signatures.h"

enum {
  DEEPEST = 16,             // structures in structures
  MOST_MEMBERS = 256,
  MOST_PARTS = 4096,        // members and member functions
};

// The ABI's classes of the two eightbytes of a structure (psABI, 3.2.3): 0 none, 'I' or 'S'. 'M':
// memory; '?': not known.
typedef struct classes {
  char eightbytes[2];
  char whole;
} classes;

static void merge(classes *c, uint64_t offset, uint64_t bytes, char class) {
  for (uint64_t at = offset / 8; at <= (offset + bytes - 1) / 8 && at < 2; at++)
    if (c->eightbytes[at] != 'I') c->eightbytes[at] = class;
}

static void classify(const nsl_reader *r, Dwarf_Die *type, uint64_t offset, int depth, classes *c);

static void classify_base(const nsl_reader *r, Dwarf_Die *type, uint64_t offset, uint64_t bytes,
                          classes *c) {
  uint64_t encoding = 0;
  nsl_number_of(r, type, DW_AT_encoding, &encoding);
  if (offset % bytes != 0) c->whole = 'M';
  if (encoding == DW_ATE_float && (bytes == 4 || bytes == 8)) merge(c, offset, bytes, 'S');
  else if (encoding == DW_ATE_float && bytes == 16) c->whole = '?';
  else if (encoding == DW_ATE_complex_float || bytes > 8) c->whole = '?';
  else merge(c, offset, bytes, 'I');
}

static void classify_members(const nsl_reader *r, Dwarf_Die *type, uint64_t offset, int depth,
                             classes *c) {
  Dwarf_Die member, inner;
  int seen = 0;
  if (r->dwarf->child(type, &member) != 0) return;
  do {
    int tag = r->dwarf->tag(&member);
    if (tag != DW_TAG_member && tag != DW_TAG_inheritance) continue;
    if (r->dwarf->hasattr(&member, DW_AT_external) || r->dwarf->hasattr(&member, DW_AT_const_value))
      continue;  // a static member
    uint64_t at = 0;
    if (++seen > MOST_MEMBERS || !nsl_bare_type_of(r, &member, &inner)) {
      c->whole = '?';
      return;
    }
    if (r->dwarf->hasattr(&member, DW_AT_bit_size)) {
      uint64_t bit = 0;
      if (!nsl_number_of(r, &member, DW_AT_data_bit_offset, &bit) &&
          nsl_number_of(r, &member, DW_AT_data_member_location, &at))
        bit = at * 8;
      merge(c, offset + bit / 8, 1, 'I');
      continue;
    }
    if (r->dwarf->hasattr(&member, DW_AT_data_member_location) &&
        !nsl_number_of(r, &member, DW_AT_data_member_location, &at)) {
      c->whole = '?';
      return;
    }
    classify(r, &inner, offset + at, depth + 1, c);
  } while (c->whole == 0 && r->dwarf->siblingof(&member, &member) == 0);
}

static void classify_array(const nsl_reader *r, Dwarf_Die *type, uint64_t offset, int depth, classes *c) {
  Dwarf_Die inner, range;
  uint64_t count = 1, bytes = 0;
  if (r->dwarf->hasattr(type, DW_AT_GNU_vector) || !nsl_bare_type_of(r, type, &inner) ||
      !nsl_number_of(r, &inner, DW_AT_byte_size, &bytes) || bytes == 0 ||
      r->dwarf->child(type, &range) != 0) {
    c->whole = '?';
    return;
  }
  do {
    uint64_t bound = 0;
    if (nsl_number_of(r, &range, DW_AT_count, &bound)) count *= bound;
    else if (nsl_number_of(r, &range, DW_AT_upper_bound, &bound)) count *= bound + 1;
    else count = 0;
  } while (count <= 16 && r->dwarf->siblingof(&range, &range) == 0);
  for (uint64_t i = 0; i < count && i < 16 && c->whole == 0; i++)
    classify(r, &inner, offset + i * bytes, depth + 1, c);
}

static void classify(const nsl_reader *r, Dwarf_Die *type, uint64_t offset, int depth, classes *c) {
  uint64_t bytes = 0;
  if (depth > DEEPEST || offset > 16) {
    c->whole = '?';
    return;
  }
  switch (r->dwarf->tag(type)) {
    case DW_TAG_pointer_type:
    case DW_TAG_reference_type:
    case DW_TAG_rvalue_reference_type:
      if (offset % 8 != 0) c->whole = 'M';
      merge(c, offset, 8, 'I');
      break;
    case DW_TAG_enumeration_type:
    case DW_TAG_base_type:
      if (!nsl_number_of(r, type, DW_AT_byte_size, &bytes) || bytes == 0) c->whole = '?';
      else classify_base(r, type, offset, bytes, c);
      break;
    case DW_TAG_structure_type:
    case DW_TAG_class_type:
    case DW_TAG_union_type: classify_members(r, type, offset, depth, c); break;
    case DW_TAG_array_type: classify_array(r, type, offset, depth, c); break;
    default: c->whole = '?';
  }
}

// Whether it may be aligned to more than 8 bytes.
static bool may_be_wide(const nsl_reader *r, Dwarf_Die *type, int depth) {
  Dwarf_Die inner, member;
  uint64_t bytes = 0;
  int seen = 0;
  if (depth > DEEPEST || r->dwarf->hasattr(type, DW_AT_alignment)) return true;
  switch (r->dwarf->tag(type)) {
    case DW_TAG_base_type: return !nsl_number_of(r, type, DW_AT_byte_size, &bytes) || bytes > 8;
    case DW_TAG_array_type:
      return r->dwarf->hasattr(type, DW_AT_GNU_vector) || !nsl_bare_type_of(r, type, &inner) ||
             may_be_wide(r, &inner, depth + 1);
    case DW_TAG_structure_type:
    case DW_TAG_class_type:
    case DW_TAG_union_type:
      if (r->dwarf->child(type, &member) != 0) return false;
      do {
        int tag = r->dwarf->tag(&member);
        if (tag != DW_TAG_member && tag != DW_TAG_inheritance) continue;
        if (++seen > MOST_MEMBERS || r->dwarf->hasattr(&member, DW_AT_alignment) ||
            !nsl_bare_type_of(r, &member, &inner) || may_be_wide(r, &inner, depth + 1))
          return true;
      } while (r->dwarf->siblingof(&member, &member) == 0);
      return false;
    default: return false;
  }
}

static bool is_flagged(const nsl_reader *r, Dwarf_Die *die, unsigned int name) {
  Dwarf_Attribute attribute;
  bool is_set = false;
  return r->dwarf->attr_integrate(die, name, &attribute) != NULL &&
         r->dwarf->formflag(&attribute, &is_set) == 0 && is_set;
}

// --- classes of C++ -----------------------------------------------------------------------------

typedef enum kind { TRIVIAL, COPIED, UNKNOWN } kind;

static kind kind_of(const nsl_reader *r, Dwarf_Die *type, int depth);

// Whether a member function is a constructor that takes a reference to its own class.
static bool copies(const nsl_reader *r, Dwarf_Die *class, Dwarf_Die *function) {
  const char *name = r->dwarf->diename(class), *own = r->dwarf->diename(function);
  Dwarf_Die parameter, type, target;
  if (name == NULL || own == NULL || r->dwarf->child(function, &parameter) != 0) return false;
  size_t length = strcspn(name, "<");
  if (strlen(own) != length || strncmp(name, own, length) != 0) return false;
  do {
    if (r->dwarf->tag(&parameter) != DW_TAG_formal_parameter ||
        is_flagged(r, &parameter, DW_AT_artificial))
      continue;
    if (!nsl_bare_type_of(r, &parameter, &type)) return false;
    int tag = r->dwarf->tag(&type);
    return (tag == DW_TAG_reference_type || tag == DW_TAG_rvalue_reference_type) &&
           nsl_bare_type_of(r, &type, &target) && target.addr == class->addr;
  } while (r->dwarf->siblingof(&parameter, &parameter) == 0);
  return false;
}

// What a member function says of its class.
static kind kind_of_function(const nsl_reader *r, Dwarf_Die *class, Dwarf_Die *function) {
  const char *name = r->dwarf->diename(function);
  uint64_t defaulted = DW_DEFAULTED_no, virtuality = DW_VIRTUALITY_none;
  nsl_number_of(r, function, DW_AT_virtuality, &virtuality);
  if (virtuality != DW_VIRTUALITY_none) return COPIED;
  bool is_special = (name != NULL && name[0] == '~') || copies(r, class, function);
  // An implicit one is trivial if those of the members are.
  if (!is_special || is_flagged(r, function, DW_AT_artificial)) return TRIVIAL;
  if (is_flagged(r, function, DW_AT_deleted)) return UNKNOWN;
  nsl_number_of(r, function, DW_AT_defaulted, &defaulted);
  return defaulted == DW_DEFAULTED_in_class ? TRIVIAL : COPIED;
}

static kind kind_of_member(const nsl_reader *r, Dwarf_Die *member, int depth) {
  Dwarf_Die type, inner;
  uint64_t virtuality = DW_VIRTUALITY_none;
  nsl_number_of(r, member, DW_AT_virtuality, &virtuality);
  if (virtuality != DW_VIRTUALITY_none) return COPIED;
  if (is_flagged(r, member, DW_AT_external)) return TRIVIAL;  // static
  if (!nsl_bare_type_of(r, member, &type)) return UNKNOWN;
  for (int i = 0; r->dwarf->tag(&type) == DW_TAG_array_type; i++, type = inner)
    if (i > DEEPEST || !nsl_bare_type_of(r, &type, &inner)) return UNKNOWN;
  int tag = r->dwarf->tag(&type);
  bool is_class = tag == DW_TAG_class_type || tag == DW_TAG_structure_type ||
                  tag == DW_TAG_union_type;
  return is_class ? kind_of(r, &type, depth + 1) : TRIVIAL;
}

static kind kind_of(const nsl_reader *r, Dwarf_Die *type, int depth) {
  Dwarf_Die part;
  kind found = TRIVIAL;
  int seen = 0;
  if (depth > DEEPEST || is_flagged(r, type, DW_AT_declaration)) return UNKNOWN;
  if (r->dwarf->child(type, &part) != 0) return TRIVIAL;
  do {
    int tag = r->dwarf->tag(&part);
    kind one = TRIVIAL;
    if (++seen > MOST_PARTS) return UNKNOWN;
    if (tag == DW_TAG_subprogram) one = kind_of_function(r, type, &part);
    if (tag == DW_TAG_member || tag == DW_TAG_inheritance) one = kind_of_member(r, &part, depth);
    if (one == COPIED) return COPIED;
    if (one == UNKNOWN) found = UNKNOWN;
  } while (r->dwarf->siblingof(&part, &part) == 0);
  return found;
}

// --- all ----------------------------------------------------------------------------------------

void nsl_put_structure(nsl_reader *r, Dwarf_Die *type) {
  uint64_t bytes = 0, convention = 0;
  char text[64];
  if (is_flagged(r, type, DW_AT_declaration) || !nsl_number_of(r, type, DW_AT_byte_size, &bytes))
    return nsl_put(r, "?");
  if (r->is_cxx && !nsl_number_of(r, type, DW_AT_calling_convention, &convention)) {
    kind kind = kind_of(r, type, 0);
    if (kind == UNKNOWN) return nsl_put(r, "?");
    convention = kind == COPIED ? DW_CC_pass_by_reference : DW_CC_pass_by_value;
  }
  if (convention == DW_CC_pass_by_reference) return nsl_put(r, "{P");
  classes c = {{0, 0}, 0};
  if (bytes <= 16) classify(r, type, 0, 0, &c);
  if (c.whole == '?') return nsl_put(r, "?");
  if (bytes > 16 || c.whole == 'M') {
    if (may_be_wide(r, type, 0)) return nsl_put(r, "?");
    snprintf(text, sizeof text, "{M%llu", (unsigned long long)bytes);
    return nsl_put(r, text);
  }
  nsl_put(r, "{");
  if (c.eightbytes[0] == 0) return nsl_put(r, "N");
  snprintf(text, sizeof text, "%.2s", c.eightbytes);
  nsl_put(r, text);
}
