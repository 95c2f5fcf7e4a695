// SPDX-License-Identifier: Apache-2.0
//
// The jump in the loader. `_dl_debug_state` is an empty function in a slot of 16 bytes:
//
//   before   [f3 0f 1e fa]  c3              nop padding        (endbr64 where built with CET)
//   after    [f3 0f 1e fa]  e9 rel32 -> near stub -> npc_loader_entry, which returns
//
// The padding is never executed. Its bytes are written first; after a core sync, one single-byte
// store turns c3 into e9. Removing the jump is the reverse.

#define _GNU_SOURCE
#include "loader.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"
#include "memory_reading.h"
#include "modules.h"
#include "near_memory.h"

enum { MAX_SUBSCRIBERS = 8, JUMP_BYTES = 5, SLOT_BYTES = 16, STUB_BYTES = 14 };

NPC_HIDDEN extern const char npc_loader_entry[];

static struct { npc_loader_callback callback; void *context; } subscribers[MAX_SUBSCRIBERS];
static struct r_debug *debug;
static npc_poke jump;  // length 0: not planted
static int jump_protection;
static void *stub;

// --- announcements, with the loader's load lock held -------------------------------------------

static bool adding, deleting;
// How many modules were listed when the loader was last at rest. The modules behind them are the
// ones that are being loaded now, because a new module goes to the list's end. Any other module may
// have run code already, even if it is the very build that a plan is for. This is not counted at
// RT_ADD: glibc 2.36 has listed one new module by then.
static size_t listed_before;
static uint64_t adds_before;  // the loader's count of loads at that time

// Called with the patch lock held, so that nobody unsubscribes meanwhile.
static void announce(int event) {
  for (int i = 0; i < MAX_SUBSCRIBERS; i++) {
    if (subscribers[i].callback) subscribers[i].callback(event, subscribers[i].context);
  }
}

static void count_listed(void) {
  npc_module_count counted = npc_modules_count();
  listed_before = counted.listed;
  adds_before = counted.adds;
}

// A load begins, and at most its first module is listed. If more modules have come, earlier loads
// were not announced (a debugger's breakpoint was over our jump). Their code runs, so this module's
// may run too.
static void begin_adding(void) {
  npc_module_count counted = npc_modules_count();
  if (counted.adds > adds_before + 1) listed_before = counted.listed;
  adding = true;
}

void npc_loader_begin_child(void) { adding = deleting = false; }

size_t npc_loader_listed_before(void) { return listed_before; }

static void end_adding(void) {
  adding = false;
  npc_patch_lock();
  npc_load_plans_apply(listed_before);
  announce(NPC_LOADER_ADDED);
  npc_patch_unlock();
}

// Whether any namespace (dlmopen) is in `state`; r_next exists since r_version 2 (glibc 2.35).
static bool any_in(int state) {
  for (struct r_debug *d = debug; d;) {
    if (d->r_state == (unsigned)state) return true;
    d = d->r_version >= 2 ? (struct r_debug *)((struct r_debug_extended *)d)->r_next : NULL;
  }
  return false;
}

__attribute__((visibility("hidden"))) void npc_loader_announced(void);
void npc_loader_announced(void) {
  int saved = errno, cancel;
  // dlopen is no cancellation point, so nothing that is called in it may be one.
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
  if (any_in(RT_ADD) && !adding) begin_adding();
  if (any_in(RT_DELETE)) {
    // A load that failed half-way is undone and never becomes consistent: no module was added.
    if (!any_in(RT_ADD)) adding = false;
    if (!deleting) {
      npc_patch_lock();  // nobody may patch until the memory is unmapped and the plans know it
      deleting = jump.length != 0;
      if (deleting) announce(NPC_LOADER_DELETING);
      else npc_patch_unlock();  // removed while this thread waited: no later call would unlock
    }
  } else if (deleting) {
    deleting = false;
    npc_load_plans_drop_vanished();
    announce(NPC_LOADER_DELETED);
    npc_patch_unlock();
  }
  if (adding && !any_in(RT_ADD)) end_adding();
  if (!any_in(RT_ADD) && !any_in(RT_DELETE)) count_listed();
  pthread_setcancelstate(cancel, NULL);
  errno = saved;
}

// --- planting ----------------------------------------------------------------------------------

static bool find_debug(const npc_module *module, void *context) {
  (void)context;  // the first module is the program
  const ElfW(Phdr) *headers = module->program_headers;
  for (uint32_t i = 0; i < module->program_header_count; i++) {
    if (headers[i].p_type != PT_DYNAMIC) continue;
    const ElfW(Dyn) *entry = (const void *)(module->load_bias + headers[i].p_vaddr);
    for (; entry->d_tag != DT_NULL; entry++) {
      if (entry->d_tag == DT_DEBUG) debug = (struct r_debug *)entry->d_un.d_ptr;
    }
  }
  return true;
}

static bool find_protection(const npc_module *module, void *context) {
  uint64_t end;
  int protection = npc_module_text_at(module, *(uint64_t *)context, SLOT_BYTES, &end);
  if (protection == 0) return false;
  jump_protection = protection;
  return true;
}

// Checks that the slot is `[endbr64] ret nop…`, as the verifier decodes it, with room for a jump in
// place of the ret and its padding.
static int check_slot(uint64_t brk, npc_verifier verify, void *verifier, uint64_t *at) {
  uint8_t bytes[SLOT_BYTES];
  if (!npc_read_fixed_up(bytes, (const void *)brk, sizeof bytes)) return EFAULT;
  size_t offset = verify(verifier, NIK_ENDBR64, 4, 0, brk, bytes) ? 4 : 0;
  if (!verify(verifier, NIK_RETURN, 1, 0, brk + offset, bytes + offset)) return EBUSY;
  *at = brk + offset;
  for (size_t next = offset + 1; next < offset + JUMP_BYTES;) {
    uint8_t length = 1;
    while (length < 12 && next + length <= SLOT_BYTES &&
           !verify(verifier, NIK_NOP, length, 0, brk + next, bytes + next)) length++;
    if (length == 12 || next + length > SLOT_BYTES) return ENOTSUP;
    next += length;
  }
  memcpy(jump.expected, bytes + offset, JUMP_BYTES);
  return 0;
}

static const uint8_t jump_through[6] = {0xff, 0x25};  // jmp *0(%rip); the address follows

static int make_stub(uint64_t at) {
  uint8_t *code = npc_map_near(at, at + JUMP_BYTES, STUB_BYTES);
  if (code == NULL) return errno;
  const char *entry = npc_loader_entry;
  memcpy(code, jump_through, sizeof jump_through);
  memcpy(code + sizeof jump_through, &entry, sizeof entry);
  if (mprotect(code, SLOT_BYTES, PROT_READ | PROT_EXEC) != 0) {
    int error = errno;
    munmap(code, SLOT_BYTES);
    return error;
  }
  stub = code;
  return 0;
}

static int write_parts(const npc_text *text, const uint8_t *bytes, bool head_first) {
  int error = 0;
  for (int part = 0; part < 2 && !error; part++) {
    bool head = (part == 0) == head_first;
    size_t offset = head ? 0 : 1, length = head ? 1 : JUMP_BYTES - 1;
    if (!npc_text_write(text, jump.address + offset, bytes + offset, length)) error = errno;
    if (!error) error = npc_sync_cores();
  }
  return error;
}

// Writes `bytes` over the jump's place: the padding and the first byte, in the given order.
static int write_jump(const uint8_t *bytes, bool head_first) {
  npc_text text = {.writer = NPC_WRITER_MPROTECT, .protection = jump_protection};
  if (!npc_text_open(&text, &jump, 1)) {
    text.writer = NPC_WRITER_PROC_MEM;
    if (!npc_text_open(&text, &jump, 1)) return errno;
  }
  npc_block_forks();
  int error = write_parts(&text, bytes, head_first);
  npc_allow_forks();
  int closing = npc_text_close(&text, &jump, 1);
  return error ? error : closing;
}

static int plant(npc_verifier verify, void *verifier) {
  if (debug == NULL) npc_modules_visit(find_debug, NULL);
  if (debug == NULL || debug->r_brk == 0) return ENOTSUP;
  uint64_t brk = debug->r_brk, at = 0;
  if (!npc_modules_visit(find_protection, &brk)) return ENOTSUP;
  int error = check_slot(brk, verify, verifier, &at);
  if (!error && stub == NULL) error = make_stub(at);
  if (error) return error;
  int32_t displacement = (int32_t)((int64_t)(uint64_t)stub - (int64_t)(at + JUMP_BYTES));
  npc_load_plans_drop_unannounced();
  count_listed();
  adding = false;  // a load under way when the jump was last removed has ended unseen
  jump.address = at;
  jump.length = JUMP_BYTES;
  jump.replacement[0] = 0xe9;
  memcpy(jump.replacement + 1, &displacement, sizeof displacement);
  error = write_jump(jump.replacement, false);
  if (error) {
    write_jump(jump.expected, true);
    jump.length = 0;
  } else if (any_in(RT_ADD)) {
    adding = true;  // another thread's load, whose end the jump will see
  } else if (!any_in(RT_DELETE)) {
    count_listed();  // others may have ended while the jump was written
  }
  return error;
}

int npc_loader_hook_install(npc_verifier verify, void *verifier) {
  int error = 0;
  npc_patch_lock();
  if (jump.length == 0) error = plant(verify, verifier);
  npc_patch_unlock();
  return error;
}

bool npc_loader_hook_installed(void) { return jump.length != 0; }

// Whether the slot has a jump to a stub like ours that leads to a function that begins as ours
// does.
bool npc_loader_hook_is_anothers(void) {
  enum { COMPARED = 64 };  // before its first relative operand
  static const uint8_t endbr64[4] = {0xf3, 0x0f, 0x1e, 0xfa};
  if (debug == NULL) npc_modules_visit(find_debug, NULL);
  uint64_t at = debug ? debug->r_brk : 0, entry;
  if (jump.length != 0 || at == 0 || !npc_modules_visit(find_protection, &at)) return false;
  if (memcmp((const void *)at, endbr64, sizeof endbr64) == 0) at += sizeof endbr64;
  if (*(const uint8_t *)at != 0xe9) return false;
  int32_t displacement;
  memcpy(&displacement, (const void *)(at + 1), sizeof displacement);
  uint64_t there = at + JUMP_BYTES + (uint64_t)(int64_t)displacement;
  if (!npc_page_is_readable(there) || !npc_page_is_readable(there + STUB_BYTES - 1) ||
      memcmp((const void *)there, jump_through, sizeof jump_through) != 0)
    return false;
  memcpy(&entry, (const void *)(there + sizeof jump_through), sizeof entry);
  return npc_page_is_readable(entry) && npc_page_is_readable(entry + COMPARED - 1) &&
         memcmp((const void *)entry, npc_loader_entry, COMPARED) == 0;
}

bool npc_loader_hook_poke(npc_poke *poke) {
  *poke = jump;
  return jump.length != 0;
}

int npc_loader_hook_remove(void) {
  npc_patch_lock();
  int error = 0;
  uint8_t actual[JUMP_BYTES];
  if (jump.length != 0) {
    if (!npc_read_fixed_up(actual, (const void *)jump.address, JUMP_BYTES) ||
        memcmp(actual, jump.replacement, JUMP_BYTES) != 0) error = EBUSY;
    else error = write_jump(jump.expected, true);
    if (!error) {
      npc_load_plans_note_unloads();
      jump.length = 0;
    }
  }
  npc_patch_unlock();
  return error;
}

int npc_loader_subscribe(npc_loader_callback callback, void *context) {
  int error = ENOSPC;
  npc_patch_lock();
  for (int i = 0; i < MAX_SUBSCRIBERS && error; i++) {
    if (subscribers[i].callback) continue;
    subscribers[i].context = context;
    subscribers[i].callback = callback;
    error = 0;
  }
  npc_patch_unlock();
  return error;
}

void npc_loader_unsubscribe(npc_loader_callback callback, void *context) {
  npc_patch_lock();
  for (int i = 0; i < MAX_SUBSCRIBERS; i++) {
    if (subscribers[i].callback == callback && subscribers[i].context == context)
      subscribers[i].callback = NULL;
  }
  npc_patch_unlock();
}
