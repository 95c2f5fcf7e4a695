// SPDX-License-Identifier: Apache-2.0
//
// LLVM's libunwind takes the stack pointer for a frame's identity. A trampoline has that of the frame
// which the hooked function returns to. If that frame catches the exception, the unwinder calls the
// trampoline's personality routine as if the trampoline were it, and ends the program if the routine
// says otherwise (src/UnwindLevel1.c of LLVM 14 to 21, unwind_phase2).
//
// So this does what the unwinder would do at the next frame. The two have one stack pointer and the
// same registers: once the cursor's program counter is the real return address, the cursor is the
// next frame's, and that frame's own personality routine can be called.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>

#include "agent.h"

enum { HANDLER_FRAME = 4, CONTINUE_UNWIND = 8 };  // _UA_HANDLER_FRAME, _URC_CONTINUE_UNWIND
enum { PROGRAM_COUNTER = -1 };  // UNW_REG_IP

/// unw_proc_info_t of LLVM's libunwind.h.
typedef struct procedure {
  uint64_t start, end, data;
  uint64_t personality;
  uint64_t others[8];
} procedure;

typedef int get_register(void *cursor, int number, uint64_t *value);
typedef int set_register(void *cursor, int number, uint64_t value);
typedef int get_procedure(void *cursor, procedure *found);
typedef int personality(int version, int actions, uint64_t exception_class,
                        struct _Unwind_Exception *exception, struct _Unwind_Context *context);

typedef struct unwinder {
  const void *base;      // of its library
  get_register *get;
  set_register *set;
  get_procedure *describe;
} unwinder;

// The one that called at `caller`, by what its library exports. False: it is another. (One that is linked
// into the program exports nothing.)
static bool find(const void *caller, unwinder *found) {
  Dl_info library;
  struct link_map *map;
  if (dladdr1(caller, &library, (void **)&map, RTLD_DL_LINKMAP) == 0) return false;
  void *handle = dlopen(map->l_name, RTLD_NOLOAD | RTLD_LAZY);
  if (handle == NULL) return false;
  *found = (unwinder){library.dli_fbase, (get_register *)dlsym(handle, "unw_get_reg"),
                      (set_register *)dlsym(handle, "unw_set_reg"),
                      (get_procedure *)dlsym(handle, "unw_get_proc_info")};
  Dl_info owner;
  bool is_its_own = found->get != NULL && found->set != NULL && found->describe != NULL &&
                    dladdr((void *)found->get, &owner) != 0 && owner.dli_fbase == found->base;
  dlclose(handle);
  return is_its_own;
}

// Where a frame returns to whose return address is a trampoline; 0: it is none.
static uint64_t behind(uint64_t trampoline) {
  const npc_code_range all = nag_trampolines_range();
  if (trampoline < all.start || trampoline >= all.end) return 0;
  const uint64_t slot = (trampoline & ~(uint64_t)(NAG_SLOT_BYTES - 1)) + NAG_SHADOW_DISTANCE;
  return ((const nag_slot *)slot)->return_address;
}

int nag_handler_frame(int version, int actions, uint64_t exception_class,
                      struct _Unwind_Exception *exception, struct _Unwind_Context *context,
                      const void *caller, void (*note)(void)) {
  note();
  unwinder is;
  uint64_t back;
  if (!(actions & HANDLER_FRAME) || !find(caller, &is) ||
      is.get(context, PROGRAM_COUNTER, &back) != 0)
    return CONTINUE_UNWIND;
  uint64_t next = behind(back);
  if (next == 0) return CONTINUE_UNWIND;
  // A function that was reached by a tail call returns to another trampoline.
  for (uint64_t further; (further = behind(next)) != 0; next = further) note();
  procedure handler = {0};
  if (is.set(context, PROGRAM_COUNTER, next) != 0 || is.describe(context, &handler) != 0 ||
      handler.personality == 0)
    return CONTINUE_UNWIND;
  return ((personality *)handler.personality)(version, actions, exception_class, exception, context);
}
