// SPDX-License-Identifier: Apache-2.0
//
// Instrumented texts: where their calls to mcount go (a kernel has one MCOUNT_ADDR, here each
// module has a PLT stub) and where an enabled site goes (a near trampoline). Only the zap removes a
// text again. In the other versions an unloaded text stays in the table, as its records stay in the
// hash.

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon_internal.h"

enum { PAGE = 4096, MAX_TRAMPOLINES = 64 };

// Kept for the life of the process: a thread may be in one at any time, and its page must never
// become a hole into which a later mapping falls.
static uint64_t trampolines[MAX_TRAMPOLINES];
static size_t trampoline_count;

static bool reaches(uint64_t from, uint64_t to) {
  int64_t distance = (int64_t)(to - from);
  return distance == (int32_t)distance;
}

// Maps and fills one page:
//     ff 25 00 00 00 00      jmp *0(%rip)
//     (address of nul_ftrace_caller)
static int make_trampoline(uint64_t start, uint64_t end, uint64_t *made) {
  if (trampoline_count == MAX_TRAMPOLINES) return ENOSPC;
  uint8_t *page = npc_map_near(start, end, PAGE);
  if (page == NULL) return errno;
  static const uint8_t jump[] = {0xff, 0x25, 0, 0, 0, 0};
  uint64_t target = (uint64_t)(uintptr_t)nul_ftrace_caller;
  memcpy(page, jump, sizeof jump);
  memcpy(page + sizeof jump, &target, sizeof target);
  if (mprotect(page, PAGE, PROT_READ | PROT_EXEC) != 0) {
    int error = errno;
    munmap(page, PAGE);
    return error;
  }
  *made = trampolines[trampoline_count++] = (uint64_t)(uintptr_t)page;
  return 0;
}

static int trampoline_for(uint64_t start, uint64_t end, uint64_t *found) {
  for (size_t i = 0; i < trampoline_count; i++) {
    *found = trampolines[i];
    if (reaches(start, *found) && reaches(end, *found)) return 0;
  }
  return make_trampoline(start, end, found);
}

// The newest is searched first: a module may have been loaded where another one was.
const nul_text *nul_text_at(uint64_t ip) {
  for (size_t i = nul.text_count; i-- > 0;)
    if (nul.texts[i].start <= ip && ip < nul.texts[i].end) return &nul.texts[i];
  return NULL;
}

static void remove_text(size_t index) {
  for (size_t i = index + 1; i < nul.text_count; i++) nul.texts[i - 1] = nul.texts[i];
  nul.text_count--;
}

void nul_texts_forget(uint64_t start, uint64_t end) {
  for (size_t i = nul.text_count; i-- > 0;)
    if (start <= nul.texts[i].start && nul.texts[i].end <= end) remove_text(i);
}

static int add_text(const nul_text *text) {
  int error = 0;
  nul_lock();
  for (size_t i = nul.text_count; i-- > 0;)
    if (nul.texts[i].start == text->start && nul.texts[i].end == text->end) remove_text(i);
  if (nul.text_count == NUL_MAX_TEXTS) error = ENOSPC;
  else nul.texts[nul.text_count++] = *text;
  nul_unlock();
  return error;
}

int nul_text_register(uint64_t start, uint64_t end, uint64_t mcount_stub) {
  nul_text text = {.start = start, .end = end, .stub = mcount_stub};
  if (start >= end || !nul.attached) return EINVAL;
  if (!reaches(start, mcount_stub) || !reaches(end, mcount_stub)) return EINVAL;
  npc_patch_lock();
  int error = trampoline_for(start, end, &text.trampoline);
  if (error == 0) {
    uint64_t low = start & ~(uint64_t)(PAGE - 1), high = (end + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    int open = PROT_READ | PROT_WRITE | PROT_EXEC;
    if (mprotect((void *)(uintptr_t)low, high - low, open) != 0) error = errno;
  }
  if (error == 0) error = add_text(&text);
  npc_patch_unlock();
  return error;
}

typedef struct text_query {
  uint64_t ip, start, end, stub;
} text_query;

// Runs inside the visit, because the module stays mapped only there.
static bool look_at_call(const npc_module *module, void *context) {
  text_query *query = context;
  const uint8_t *site = (const uint8_t *)(uintptr_t)query->ip;
  if (query->ip < module->text_start || query->ip + NUL_SITE_LENGTH > module->text_end) return false;
  int32_t distance;
  memcpy(&distance, site + 1, sizeof distance);
  query->start = module->text_start;
  query->end = module->text_end;
  query->stub = query->ip + NUL_SITE_LENGTH + (uint64_t)(int64_t)distance;
  return *site == 0xe8;
}

bool nul_text_of_call(uint64_t ip, uint64_t *start, uint64_t *end, uint64_t *mcount_stub) {
  text_query query = {.ip = ip};
  if (!npc_modules_visit(look_at_call, &query)) return false;
  *start = query.start;
  *end = query.end;
  *mcount_stub = query.stub;
  return true;
}
