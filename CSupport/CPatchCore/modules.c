// SPDX-License-Identifier: Apache-2.0
//
// Modules as the loader lists them. dl_iterate_phdr holds the loader's write lock over all its
// callbacks, so every module seen here is mapped and stays mapped until the visit returns
// (glibc 2.36, elf/dl-iteratephdr.c, elf/dl-close.c).

#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "faults.h"
#include "internal.h"
#include "loader.h"

static int protection_of(uint32_t flags) {
  return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) |
         (flags & PF_X ? PROT_EXEC : 0);
}

static void widen(uint64_t *start, uint64_t *end, uint64_t from, uint64_t to) {
  if (*end == 0 || from < *start) *start = from;
  if (to > *end) *end = to;
}

// Text may have been unmapped or covered behind the loader's back, and a linker that separates no
// code puts headers and notes beside it. The kernel is asked where a fault would not be ours.
bool npc_read_memory(void *to, const void *from, size_t length) {
  return npc_faults_are_installed() ? npc_read_fixed_up(to, from, length)
                                    : npc_read_asking(to, from, length);
}

bool npc_read_asking(void *to, const void *from, size_t length) {
  enum { PAGE = 4096 };
  uint64_t start = (uint64_t)from, end = start + length;
  for (uint64_t at = start; at < end; at = (at / PAGE + 1) * PAGE)
    if (!npc_text_is_readable(at)) return false;
  memcpy(to, from, length);
  return true;
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

// `headers` is filled: the module's own may not be readable, and then nothing is said of it but its
// name and its bias.
static void describe(const struct dl_phdr_info *info, npc_module *module, ElfW(Phdr) * headers) {
  *module = (npc_module){.load_bias = info->dlpi_addr, .name = info->dlpi_name,
                         .adds = info->dlpi_adds, .subs = info->dlpi_subs,
                         .program_headers = headers};
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
  bool (*visit)(const npc_module *module, void *context);
  void *context;
} visitor;

static int callback(struct dl_phdr_info *info, size_t size, void *context) {
  (void)size;
  const visitor *v = context;
  npc_module module;
  ElfW(Phdr) headers[MOST_HEADERS];
  describe(info, &module, headers);
  return v->visit(&module, v->context);
}

bool npc_modules_visit(bool (*visit)(const npc_module *module, void *context), void *context) {
  visitor v = {visit, context};
  return dl_iterate_phdr(callback, &v) != 0;
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
  dl_iterate_phdr(count_one, &counted);
  return counted;
}

typedef struct { npc_module_record *records; size_t capacity, count; } copying;

static bool copy(const npc_module *module, void *context) {
  copying *c = context;
  if (c->count++ >= c->capacity) return false;
  npc_module_record *record = &c->records[c->count - 1];
  *record = (npc_module_record){.load_bias = module->load_bias, .text_start = module->text_start,
                                .text_end = module->text_end, .span_start = module->span_start,
                                .span_end = module->span_end, .adds = module->adds,
                                .subs = module->subs};
  strncpy(record->name, module->name, sizeof record->name - 1);
  if (module->build_id_length > sizeof record->build_id) return false;
  record->build_id_length = module->build_id_length;
  if (module->build_id) memcpy(record->build_id, module->build_id, module->build_id_length);
  return false;
}

size_t npc_modules_copy(npc_module_record *records, size_t capacity) {
  copying c = {records, capacity, 0};
  npc_modules_visit(copy, &c);
  return c.count;
}

// --- near memory ------------------------------------------------------------------------------

static uint64_t round_up(uint64_t value) { return (value + 4095) & ~(uint64_t)4095; }

// Reads one line of /proc/self/maps from `file`, of which only the two addresses matter.
typedef struct { int file; char buffer[4096]; ssize_t length, at; } maps_reader;

static int next_byte(maps_reader *reader) {
  if (reader->at == reader->length) {
    reader->length = read(reader->file, reader->buffer, sizeof reader->buffer);
    reader->at = 0;
    if (reader->length <= 0) return -1;
  }
  return (unsigned char)reader->buffer[reader->at++];
}

static bool next_mapping(maps_reader *reader, uint64_t *start, uint64_t *end) {
  uint64_t *field = start;
  *start = *end = 0;
  int byte;
  while ((byte = next_byte(reader)) >= 0 && byte != ' ') {
    if (byte == '-') field = end;
    else *field = *field << 4 | (uint64_t)(byte <= '9' ? byte - '0' : byte - 'a' + 10);
  }
  while (byte >= 0 && byte != '\n') byte = next_byte(reader);
  return byte >= 0;
}

// The hole nearest to the module that leaves all of it in reach of a 32-bit displacement.
static uint64_t find_hole(uint64_t low, uint64_t high, uint64_t length) {
  const uint64_t reach = 0x7ff00000;
  uint64_t floor = high > reach ? high - reach : 0x10000, ceiling = low + reach;
  uint64_t best = 0, best_distance = UINT64_MAX, start, end, previous = 0x10000;
  maps_reader reader = {.file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
  if (reader.file < 0) return 0;
  while (next_mapping(&reader, &start, &end)) {
    uint64_t from = previous > floor ? previous : floor, to = start < ceiling ? start : ceiling;
    if (to > from && to - from >= length) {
      uint64_t candidate = to <= low ? to - length : from;
      uint64_t distance = candidate < low ? low - candidate : candidate - low;
      if (distance < best_distance) best = candidate, best_distance = distance;
    }
    previous = end;
  }
  close(reader.file);
  return best;
}

static void *map_at(uint64_t address, size_t length) {
  return mmap((void *)address, length, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

// Where /proc is not mounted: one place after the other, in growing steps.
static void *map_by_trial(uint64_t low, uint64_t high, size_t length) {
  const uint64_t reach = 0x7ff00000, step = 1 << 16, lowest = 1 << 16;
  low &= ~(uint64_t)4095;
  high = round_up(high);
  for (uint64_t distance = 0; high - low + distance + length < reach;
       distance += round_up(distance / 16) + step) {
    void *memory = MAP_FAILED;
    if (low > lowest + distance + length) memory = map_at(low - distance - length, length);
    if (memory == MAP_FAILED) memory = map_at(high + distance, length);
    if (memory != MAP_FAILED) return memory;
  }
  errno = ENOMEM;
  return NULL;
}

void *npc_map_near(uint64_t low, uint64_t high, size_t length) {
  length = round_up(length);
  if (access("/proc/self/maps", R_OK) != 0) return map_by_trial(low, high, length);
  for (int attempt = 0; attempt < 16; attempt++) {
    uint64_t hole = find_hole(low, high, length);
    if (hole == 0) break;
    void *memory = map_at(hole, length);
    if (memory != MAP_FAILED) return memory;
    if (errno != EEXIST) return NULL;  // EEXIST: another thread was faster
  }
  errno = ENOMEM;
  return NULL;
}
