// SPDX-License-Identifier: Apache-2.0
//
// Whether code is in use that is about to go.

#include "internal.h"

typedef struct {
  const npc_code_range *ranges;
  size_t count;
  bool is_found;
} looking;

static bool is_in(const looking *l, uint64_t pc) {
  for (size_t i = 0; i < l->count; i++)
    if (pc >= l->ranges[i].start && pc < l->ranges[i].end) return true;
  return false;
}

// A sleeper's PC is behind a system call instruction; it may be one of this code's.
static bool look_at(const npc_stopped *thread, void *context) {
  looking *l = context;
  l->is_found = thread->pc == NULL || is_in(l, *thread->pc);
  return !l->is_found;
}

static bool look_at_frame(const npc_stopped *thread, uint64_t *place, uint64_t pc, void *context) {
  (void)thread;
  looking *l = context;
  l->is_found = place == NULL || is_in(l, pc);
  return !l->is_found;
}

bool npc_stop_finds_inside(const npc_code_range *ranges, size_t count) {
  looking l = {ranges, count, false};
  npc_stop_each(look_at, &l);
  if (!l.is_found && npc_signal_frames_visit(look_at_frame, &l) != 0) return true;
  return l.is_found;
}
