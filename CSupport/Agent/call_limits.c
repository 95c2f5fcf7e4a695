// SPDX-License-Identifier: Apache-2.0
//
// Tracer `function_graph` with a limit that depends on the call, not on its site: a maximum depth,
// a window that graph functions open, a least duration. Every armed entry comes here.

#include "agent.h"
#include "syscalls.h"

enum { OPENS_WINDOW = 1u << 31 };

static bool is_wanted(const uint64_t *location, bool opens) {
  const nrec_config *config = &nag_config.config;
  const nag_buffer *buffer = nag_thread_buffer();
  if (buffer == NULL) return false;
  if (config->only_in_graph && !opens && buffer->open_windows == 0) return false;
  return !config->maximum_depth || nag_self.stacks == NULL ||
         nag_shadow_live_depth((uint64_t)location) < config->maximum_depth;
}

static void enter(uint32_t function, uint64_t *location, bool opens) {
  uint64_t signals = nag_block_signals();
  bool wanted = is_wanted(location, opens);
  nag_buffer *buffer = nag_self.buffer;
  nag_slot *slot = wanted ? nag_shadow_push(location, function) : NULL;
  if (slot != NULL) {
    uint64_t before = nag_event_mark();
    nag_event_entry(function, nag_time(), true);
    slot->time = before ? *nag_state(buffer) : 0;
    slot->extra = (uint32_t)(before & 0xffff) | (opens ? OPENS_WINDOW : 0);
    buffer->open_windows += opens;
  }
  nag_restore_signals(signals);
}

void nag_enter_limited(uint32_t function, uint64_t *location) { enter(function, location, false); }
void nag_enter_window(uint32_t function, uint64_t *location) { enter(function, location, true); }

// A function whose return cannot be hooked: records its entry if it is wanted. With a least
// duration it is never recorded, because its duration cannot be measured.
void nag_enter_limited_only(uint32_t function, uint64_t *location) {
  uint64_t signals = nag_block_signals();
  if (!nag_config.config.threshold && is_wanted(location, false))
    nag_event_entry(function, nag_time(), false);
  nag_restore_signals(signals);
}

void nag_limited_dropped(const nag_slot *slot, const nag_slot *caller) {
  (void)caller;
  if (nag_self.buffer && slot->extra & OPENS_WINDOW) nag_self.buffer->open_windows--;
}

// Removes a call that was too short from the buffer. That is possible while nothing follows its
// entry.
static bool take_back(const nag_slot *slot) {
  nag_buffer *buffer = nag_self.buffer;
  if (buffer->chunk == NULL || *nag_state(buffer) != slot->time) return false;
  // A copy of the chunk has the entry already.
  if (nag_arena_is_held()) return false;
  uint64_t start = slot->extra & 0xffff;
  const uint8_t *event = buffer->chunk + start;
  if (start < NAG_CHUNK_HEADER) return false;
  uint64_t passed = 0, word;
  __builtin_memcpy(&word, event, 8);
  if (event[0] == NREC_EVENT_TIME) {  // TIME before it
    passed = word >> 8;
    __builtin_memcpy(&word, event + 8, 8);
  }
  passed += word >> 8 & 0xffffff;
  *nag_state(buffer) = ((*nag_state(buffer) >> 16) - passed) << 16 | start;
  return true;
}

uint64_t nag_leave_limited(nag_slot *slot, uint64_t location) {
  uint64_t signals = nag_block_signals(), time = nag_time();
  bool is_ours = nag_shadow_matches(slot, location);
  if (is_ours) nag_limited_dropped(slot, NULL);
  bool is_short = is_ours && nag_config.config.threshold &&
                  nag_since(time, slot->time >> 16) < nag_config.config.threshold;
  bool is_gone = is_short && nag_self.buffer && nag_self.top == slot + 1 && take_back(slot);
  nag_returned how;
  uint64_t back = nag_shadow_pop(slot, location, &how);
  if (!is_gone && !how.is_unknown) nag_event_exit(time);
  if (how.is_last) nag_shadow_resume();
  nag_restore_signals(signals);
  return back;
}
