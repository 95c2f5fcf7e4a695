// SPDX-License-Identifier: Apache-2.0
//
// Modules as the loader lists them. dl_iterate_phdr holds the loader's write lock over all its
// callbacks, so every module seen here is mapped and stays mapped until the visit returns
// (glibc 2.36, elf/dl-iteratephdr.c, elf/dl-close.c).

#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"
#include "memory_reading.h"
#include "modules.h"

static int protection_of(uint32_t flags) {
  return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) |
         (flags & PF_X ? PROT_EXEC : 0);
}

static void widen(uint64_t *start, uint64_t *end, uint64_t from, uint64_t to) {
  if (*end == 0 || from < *start) *start = from;
  if (to > *end) *end = to;
}

static void find_build_id(npc_module *module, const ElfW(Phdr) * header) {
  uint8_t notes[512];
  const uint8_t *start = (const uint8_t *)(module->load_bias + header->p_vaddr), *at = notes;
  const uint8_t *end = at + (header->p_memsz < sizeof notes ? header->p_memsz : sizeof notes);
  if (!npc_read_memory(notes, start, (size_t)(end - at))) return;
  while (end - at >= (ptrdiff_t)sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note;
    memcpy(&note, at, sizeof note);
    const uint8_t *name = at + sizeof note;
    size_t name_size = ((size_t)note.n_namesz + 3) & ~(size_t)3;
    size_t size = ((size_t)note.n_descsz + 3) & ~(size_t)3;
    if (name_size > (size_t)(end - name) || size > (size_t)(end - name) - name_size) return;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(name, "GNU", 4) == 0) {
      module->build_id = start + (name + name_size - notes);
      module->build_id_length = note.n_descsz;
      return;
    }
    at = name + name_size + size;
  }
}

enum { MOST_HEADERS = 64 };

// `headers` is a copy to fill, because the module's own headers may not be readable. Then only its
// name and its load bias are filled in.
static void describe(const struct dl_phdr_info *info, npc_module *module, ElfW(Phdr) * headers) {
  *module = (npc_module){.load_bias = info->dlpi_addr, .name = info->dlpi_name,
                         .adds = info->dlpi_adds, .subs = info->dlpi_subs,
                         .headers = (uint64_t)info->dlpi_phdr, .program_headers = headers};
  uint32_t count = info->dlpi_phnum < MOST_HEADERS ? info->dlpi_phnum : MOST_HEADERS;
  if (!npc_read_memory(headers, info->dlpi_phdr, count * sizeof *headers)) return;
  module->program_header_count = count;
  for (uint32_t i = 0; i < count; i++) {
    const ElfW(Phdr) *header = &headers[i];
    uint64_t from = module->load_bias + header->p_vaddr, to = from + header->p_memsz;
    if (header->p_type == PT_NOTE && module->build_id == NULL) find_build_id(module, header);
    if (header->p_type != PT_LOAD) continue;
    widen(&module->span_start, &module->span_end, from, to);
    if (!(header->p_flags & PF_X)) continue;
    widen(&module->text_start, &module->text_end, from, to);
  }
}

int npc_module_text_at(const npc_module *module, uint64_t address, size_t length, uint64_t *end) {
  const ElfW(Phdr) *headers = module->program_headers;
  for (uint32_t i = 0; i < module->program_header_count; i++) {
    uint64_t from = module->load_bias + headers[i].p_vaddr;
    if (headers[i].p_type == PT_LOAD && headers[i].p_flags & PF_X && address >= from &&
        address - from <= headers[i].p_memsz && length <= headers[i].p_memsz - (address - from)) {
      *end = from + headers[i].p_memsz;
      return protection_of(headers[i].p_flags);
    }
  }
  return 0;
}

bool npc_module_has_text(const npc_module *module, uint64_t address, size_t length) {
  uint64_t end;
  return npc_module_text_at(module, address, length, &end) != 0;
}

typedef struct {
  bool (*wants)(const npc_listed *listed, void *context);
  bool (*visit)(const npc_module *module, void *context);
  void *context;
} visitor;

static int callback(struct dl_phdr_info *info, size_t size, void *context) {
  (void)size;
  const visitor *v = context;
  npc_listed listed = {.load_bias = info->dlpi_addr, .headers = (uint64_t)info->dlpi_phdr,
                       .name = info->dlpi_name, .adds = info->dlpi_adds,
                       .subs = info->dlpi_subs};
  if (v->wants != NULL && !v->wants(&listed, v->context)) return 0;
  npc_module module;
  ElfW(Phdr) headers[MOST_HEADERS];
  describe(info, &module, headers);
  return v->visit(&module, v->context);
}

typedef struct {
  int (*function)(struct dl_phdr_info *info, size_t size, void *context);
  void *context;
} iteration;

static int inside(struct dl_phdr_info *info, size_t size, void *context) {
  const iteration *i = context;
  npc_note_visit(true);
  return i->function(info, size, i->context);
}

// A child that is forked meanwhile would have the loader's lock for ever.
static int iterate(int (*function)(struct dl_phdr_info *, size_t, void *), void *context) {
  static int nested;  // changed only by the thread that blocks forks
  iteration i = {function, context};
  npc_block_forks();
  nested++;
  int result = dl_iterate_phdr(inside, &i);
  if (--nested == 0) npc_note_visit(false);
  npc_allow_forks();
  return result;
}

bool npc_modules_visit_some(bool (*wants)(const npc_listed *listed, void *context),
                            bool (*visit)(const npc_module *module, void *context), void *context) {
  visitor v = {wants, visit, context};
  return iterate(callback, &v) != 0;
}

bool npc_modules_visit(bool (*visit)(const npc_module *module, void *context), void *context) {
  return npc_modules_visit_some(NULL, visit, context);
}

static int count_one(struct dl_phdr_info *info, size_t size, void *context) {
  (void)size;
  npc_module_count *counted = context;
  counted->listed++;
  counted->adds = info->dlpi_adds;
  return 0;
}

npc_module_count npc_modules_count(void) {
  npc_module_count counted = {0};
  iterate(count_one, &counted);
  return counted;
}

typedef struct { npc_module_copy *records; size_t capacity, count; } copying;

static bool copy(const npc_module *module, void *context) {
  copying *c = context;
  if (c->count++ >= c->capacity) return false;
  npc_module_copy *record = &c->records[c->count - 1];
  *record = (npc_module_copy){.load_bias = module->load_bias, .text_start = module->text_start,
                                .text_end = module->text_end, .span_start = module->span_start,
                                .span_end = module->span_end, .adds = module->adds,
                                .subs = module->subs};
  strncpy(record->name, module->name, sizeof record->name - 1);
  if (module->build_id_length > sizeof record->build_id) return false;
  record->build_id_length = module->build_id_length;
  if (module->build_id) memcpy(record->build_id, module->build_id, module->build_id_length);
  return false;
}

size_t npc_modules_copy(npc_module_copy *copies, size_t capacity) {
  copying c = {copies, capacity, 0};
  npc_modules_visit(copy, &c);
  return c.count;
}
