// SPDX-License-Identifier: Apache-2.0
//
// What lets C++ exceptions, backtrace() and thread cancellation pass through hooked frames: one
// unwind rule for the whole range of trampolines. When a callee has returned or is being unwound,
// its trampoline's address is the word below the stack pointer; the slot stands at a constant
// distance, and holds the real return address. See the format in the DWARF 4 standard, 6.4, and
// the System V ABI for x86-64, 3.7.

#include <link.h>

#include "agent.h"
#include "syscalls.h"

uint64_t nag_shadow_code_start(void);

static uint8_t *frame;        // CIE, FDE, terminator
typedef void (*register_frame)(const void *);

static uint8_t *put(uint8_t *at, const void *bytes, size_t count) {
  nag_copy(at, bytes, count);
  return at + count;
}

static uint8_t *put_word(uint8_t *at, uint64_t value, size_t count) {
  return put(at, &value, count);
}

// DW_OP_breg7: the stack pointer, plus `offset` (-64 to 63).
enum { BREG7 = 0x77, DEREF = 0x06, PLUS = 0x22, CONST4U = 0x0c };

static void build(uint8_t *at) {
  static const uint8_t cie[] = {
    1, 'z', 'R', 0, 1, 0x78, 16, 1, 0,  // version, augmentation, factors 1 and -8, column 16, absptr
    0x0f, 2, BREG7, 0x7f,               // CFA: rsp - 1, an identity that no real frame has
    0x16, 7, 2, BREG7, 0,               // rsp after: as it is
    0x16, 16, 10, BREG7, 0x78, DEREF, CONST4U,  // return address: *(*(rsp - 8) + distance)
  };
  uint8_t *length = at;
  at = put_word(at, 0, 4);
  uint8_t *start = at;
  at = put_word(at, 0, 4);  // it is a CIE
  at = put(at, cie, sizeof cie);
  at = put_word(at, NAG_SHADOW_DISTANCE, 4);
  *at++ = PLUS, *at++ = DEREF;
  while ((at - start) % 8 != 4) *at++ = 0;  // DW_CFA_nop
  put_word(length, (uint64_t)(at - start), 4);
  length = at;
  at = put_word(at, 0, 4);
  uint8_t *fde = at;
  at = put_word(at, (uint64_t)(fde - frame), 4);  // back to the CIE
  at = put_word(at, nag_shadow_code_start() - 1, 8);  // unwinders look up pc - 1
  at = put_word(at, NAG_SHADOW_DISTANCE, 8);
  *at++ = 0;
  while ((at - fde) % 8 != 4) *at++ = 0;
  put_word(length, (uint64_t)(at - fde), 4);
  put_word(at, 0, 4);
}

// --- finding a function, __register_frame in whatever unwinder is loaded ----------------------------------------

static bool is_named(const char *name, const char *wanted) {
  size_t i = 0;
  while (wanted[i] && name[i] == wanted[i]) i++;
  return wanted[i] == 0 && name[i] == 0;
}

static uint64_t symbol_count(const uint32_t *hash) {
  // DT_GNU_HASH: the last chain of the last bucket ends with an odd word.
  uint32_t buckets = hash[0], first = hash[1], words = hash[2], last = 0;
  const uint32_t *bucket = hash + 4 + words * 2, *chain = bucket + buckets;
  for (uint32_t i = 0; i < buckets; i++) last = bucket[i] > last ? bucket[i] : last;
  if (last < first) return first;
  while (!(chain[last - first] & 1)) last++;
  return (uint64_t)last + 1;
}

typedef struct wanted_symbol {
  const char *name;
  bool after_own, is_after;
  uint64_t address;
} wanted_symbol;

static bool find_in(const npc_module *module, void *context) {
  wanted_symbol *wanted = context;
  uint64_t here = (uint64_t)&build;
  if (here >= module->span_start && here < module->span_end) {
    wanted->is_after = true;
    return false;
  }
  if (wanted->after_own && !wanted->is_after) return false;
  const ElfW(Phdr) *headers = module->program_headers;
  const ElfW(Sym) *symbols = NULL;
  const char *strings = NULL;
  const uint32_t *hash = NULL;
  for (uint32_t i = 0; i < module->program_header_count; i++) {
    if (headers[i].p_type != PT_DYNAMIC) continue;
    const ElfW(Dyn) *entry = (const void *)(module->load_bias + headers[i].p_vaddr);
    for (; entry->d_tag != DT_NULL; entry++) {
      // glibc has relocated these in place, for all but the vdso.
      if (entry->d_tag == DT_SYMTAB) symbols = (const void *)entry->d_un.d_ptr;
      if (entry->d_tag == DT_STRTAB) strings = (const void *)entry->d_un.d_ptr;
      if (entry->d_tag == DT_GNU_HASH) hash = (const void *)entry->d_un.d_ptr;
    }
  }
  bool relocated = (uint64_t)symbols >= module->span_start && (uint64_t)hash >= module->span_start &&
                   (uint64_t)strings >= module->span_start;
  if (!symbols || !strings || !hash || !relocated) return false;
  uint64_t count = symbol_count(hash);
  for (uint64_t i = 1; i < count; i++) {
    if (symbols[i].st_shndx == SHN_UNDEF || !is_named(strings + symbols[i].st_name,
                                                      wanted->name)) continue;
    wanted->address = module->load_bias + symbols[i].st_value;
    return true;
  }
  return false;
}

uint64_t nag_find_symbol(const char *name, bool after_own) {
  wanted_symbol wanted = {.name = name, .after_own = after_own};
  return npc_modules_visit(find_in, &wanted) ? wanted.address : 0;
}

void nag_unwind_prepare(void) {
  if (frame != NULL || nag_shadow_code_start() == 0) return;
  register_frame enter = (register_frame)nag_find_symbol("__register_frame", false);
  if (enter == NULL) return;
  frame = nag_pages(4096);
  if (frame == NULL) return;
  build(frame);
  enter(frame);
}
