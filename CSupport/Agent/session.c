// SPDX-License-Identifier: Apache-2.0
//
// A recording of this process, from its beginning to its end. It begins before the program's first
// instruction, or when a recorder visits the process (visit.c). It ends with the program, or at another
// visit: then nothing of it stays but memory.

#include "agent.h"
#include "syscalls.h"

enum { MOST_TRIES = 200, PAUSE_NANOSECONDS = 1000000 };

// Accepts only ret, endbr64 and the nops that compilers pad with: the loader's slot may hold only
// these.
static bool is_padding(void *context, uint8_t kind, uint8_t length, uint64_t target,
                       uint64_t address, const uint8_t *bytes) {
  (void)context, (void)target, (void)address;
  if (kind == NIK_RETURN) return length == 1 && bytes[0] == 0xc3;
  if (kind == NIK_ENDBR64)
    return length == 4 && bytes[0] == 0xf3 && bytes[1] == 0x0f && bytes[2] == 0x1e &&
           bytes[3] == 0xfa;
  if (kind != NIK_NOP) return false;
  uint8_t i = 0;
  while (i < length && (bytes[i] == 0x66 || bytes[i] == 0x2e)) i++;
  if (i + 1 == length && bytes[i] == 0x90) return true;
  if (i + 2 >= length || bytes[i] != 0x0f || bytes[i + 1] != 0x1f) return false;
  uint8_t mode = bytes[i + 2] >> 6, base = bytes[i + 2] & 7;
  uint8_t size = (uint8_t)(i + 3 + (base == 4 && mode != 3) + (mode == 1 ? 1 : mode == 2 ? 4 : 0));
  return size == length;
}

static void changed(int event, void *context) {
  (void)context;
  if (event == NPC_LOADER_ADDED || event == NPC_LOADER_DELETED) nag_modules_changed();
}

// Once for the process, however many recordings there are.
static void prepare(bool is_late) {
  static bool is_prepared;
  if (is_prepared) return;
  is_prepared = true;
  nag_thread_prepare();
  if (!is_late) nag_stack_prepare();
}

static int follow_loader(void) {
  int error = npc_loader_hook_install(is_padding, NULL);
  return error != 0 ? error : npc_loader_subscribe(changed, NULL);
}

// The loader's hook first: nothing is loaded unseen. Its callbacks wait for the patch lock, until what is
// there has been looked at.
static int begin_late(void) {
  int error = npc_patch_prepare_quiet();
  if (error != 0) return error;
  npc_patch_lock();
  error = follow_loader();
  if (error == 0 && !nag_modules_start(true)) error = ENOMEM;
  npc_patch_unlock();
  return error;
}

int nag_session_begin(bool is_late) {
  prepare(is_late);
  nag_config.is_off = false;
  nag_config.tracer = nag_tracer_choose(&nag_config.config);
  nag_shadow_prepare();
  nag_gate_prepare();
  if (is_late) return begin_late();
  if (!nag_modules_start(false)) return ENOMEM;
  // After an anomaly nothing is patched any more, the loader neither.
  return nag_config.is_off ? 0 : follow_loader();
}

// --- the end ------------------------------------------------------------------------------------

typedef struct ending {
  nag_ending *result;
  uint64_t offset;  // of a thread's state, from its thread pointer
} ending;

static bool end_thread(const npc_stopped *thread, void *context) {
  ending *e = context;
  nag_tls *self = (nag_tls *)(thread->thread_pointer + e->offset);
  if (thread->thread_pointer != 0) e->result->kept_returns += nag_thread_end(self);
  return true;
}

// The agent's own executable segment.
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));
static npc_code_range agent_text(void) {
  return (npc_code_range){(uint64_t)__ehdr_start, (uint64_t)etext};
}

static bool is_inside(void) {
  enum { ROOM = 1024 };
  static npc_code_range ranges[ROOM];
  ranges[0] = agent_text();
  ranges[1] = nag_trampolines_range();
  uint32_t count = nag_modules_stubs(ranges + 2, ROOM - 2);
  return count > ROOM - 2 || npc_stop_finds_inside(ranges, count + 2);
}

// All threads are stopped: none is in a handler, and none comes there any more.
static bool give_back(nag_ending *result) {
  const npc_stop_request request = {0};
  npc_stop_report report;
  if (!npc_stop_threads(&request, &report)) return false;
  bool is_quiet = !is_inside();
  if (is_quiet) {
    ending e = {result, (uint64_t)&nag_self - nag_thread_pointer()};
    npc_stop_each(end_thread, &e);
    result->kept_returns += nag_thread_end(&nag_self);
    nag_orphans_give_back();
  }
  npc_resume_threads();
  return is_quiet;
}

void nag_session_end(nag_ending *result) {
  *result = (nag_ending){0};
  // While this thread has the lock, nothing is unmapped: a thread in dlclose waits for it in the hook.
  npc_patch_lock();
  nag_modules_restore(result);
  npc_loader_unsubscribe(changed, NULL);
  npc_loader_hook_remove();
  const struct timespec pause = {0, PAUSE_NANOSECONDS};
  for (int i = 0; i < MOST_TRIES && !result->is_quiet; i++) {
    result->is_quiet = give_back(result);
    if (!result->is_quiet) NAG_CALL(SYS_nanosleep, &pause, 0);
  }
  // A thread that is still in a handler needs all that it found there. The end can be tried again.
  if (result->is_quiet) {
    nag_modules_forget();
    nag_values_forget();
    nag_mark_ended();
    nag_part();
  }
  npc_patch_unlock();
}
