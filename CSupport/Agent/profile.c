// SPDX-License-Identifier: Apache-2.0
//
// Tracer `profile`: hits and times by function and thread, no events. Signals need not be blocked
// here: each sum is changed by one instruction on memory, so a signal handler's own calls never
// find a half-changed sum.

#include "agent.h"
#include "shadow_stack.h"
#include "syscalls.h"

enum { STEP = 1024 };

static inline void add(uint64_t *sum, uint64_t value) {
  __asm__ volatile("addq %1, %0" : "+m"(*sum) : "r"(value) : "cc");
}

static inline void add_wide(uint64_t *low, uint64_t *high, unsigned __int128 value) {
  __asm__ volatile("addq %2, %0\n\tadcq %3, %1"
                   : "+m"(*low), "+m"(*high)
                   : "r"((uint64_t)value), "r"((uint64_t)(value >> 64)) : "cc");
}

static inline void add_narrow(uint32_t *sum, uint32_t value) {
  __asm__ volatile("addl %1, %0" : "+m"(*sum) : "r"(value) : "cc");
}

static bool widen(nag_buffer *buffer, uint32_t function) {
  uint64_t wanted = ((uint64_t)function + STEP) & ~(uint64_t)(STEP - 1);
  if (wanted < 2 * buffer->profiled) wanted = 2 * buffer->profiled;
  nrec_profile_entry *entries =
      (nrec_profile_entry *)nag_chunk_make(buffer, wanted * sizeof *entries, true);
  if (entries == NULL) return false;
  nag_copy(entries, buffer->profile, buffer->profiled * sizeof *entries);
  buffer->profile = entries;
  buffer->profiled = wanted;
  return true;
}

typedef struct making {
  uint32_t function;
  nrec_profile_entry *entry;
} making;

static void make(void *argument) {
  making *wanted = argument;
  nag_buffer *buffer = nag_thread_buffer();
  if (buffer == NULL) return;
  if (wanted->function < buffer->profiled || widen(buffer, wanted->function))
    wanted->entry = &buffer->profile[wanted->function];
  else nag_lose(1);
}

// The function's entry, made when first needed; NULL: there is no space, or nothing is recorded.
__attribute__((noinline)) static nrec_profile_entry *make_entry(uint32_t function) {
  making wanted = {function, NULL};
  uint64_t signals = nag_block_signals();
  nag_on_scratch_stack(make, &wanted);
  nag_restore_signals(signals);
  return wanted.entry;
}

static inline nrec_profile_entry *entry_of(uint32_t function) {
  const nag_buffer *buffer = nag_self.buffer;
  if (buffer != NULL && function < buffer->profiled) return &buffer->profile[function];
  return make_entry(function);
}

__attribute__((noinline)) static nag_slot *push(uint64_t *location, uint32_t function) {
  uint64_t signals = nag_block_signals();
  nag_slot *slot = nag_shadow_push(location, function);
  nag_restore_signals(signals);
  return slot;
}

void nag_enter_profile(uint32_t function, uint64_t *location) {
  nrec_profile_entry *entry = entry_of(function);
  if (entry == NULL) return;
  add(&entry->calls, 1);
  nag_slot *slot = nag_shadow_push_running(location, function);
  if (slot == NULL && (slot = push(location, function)) == NULL) return;
  // Inside a call of the same function: not counted twice.
  slot->extra = entry->open_calls > 0 && nag_shadow_has_open(slot, function);
  add_narrow(&entry->open_calls, 1);
  slot->time = nag_time();
  if (nag_self.buffer != NULL) nag_self.buffer->last_time = slot->time;
}

// A function whose return cannot be hooked is counted, not timed.
void nag_enter_profile_only(uint32_t function, uint64_t *location) {
  (void)location;
  nrec_profile_entry *entry = entry_of(function);
  if (entry != NULL) add(&entry->calls, 1);
}

// Adds a call that ended at `time`, and subtracts its time from its caller's own time.
static inline void end_call(const nag_slot *slot, const nag_slot *caller, uint64_t time) {
  uint64_t spent = time - slot->time;
  nrec_profile_entry *entry = entry_of(slot->function);
  if (entry == NULL || (int64_t)spent < 0) return;
  add_narrow(&entry->open_calls, entry->open_calls ? ~0u : 0);
  add_narrow(&entry->ended_calls, 1);
  if (!slot->extra) add(&entry->total_time, spent);
  add(&entry->sum_time, spent);
  add((uint64_t *)&entry->self_time, spent);
  if (entry->minimum_time == 0 || spent < entry->minimum_time) entry->minimum_time = spent;
  if (spent > entry->maximum_time) entry->maximum_time = spent;
  add_wide(&entry->squares_low, &entry->squares_high, (unsigned __int128)spent * spent);
  bool has_caller = caller != NULL && nag_hooks(caller);
  nrec_profile_entry *outer = has_caller ? entry_of(caller->function) : NULL;
  if (outer != NULL) add((uint64_t *)&outer->self_time, -spent);
}

// Frames inside that ended without returning are dropped before this return counts as the last event.
__attribute__((noinline)) static uint64_t leave_slowly(nag_slot *slot, uint64_t location,
                                                       uint64_t time) {
  const nag_slot ended = *slot;
  uint64_t signals = nag_block_signals();
  nag_returned how;
  uint64_t back = nag_shadow_pop(slot, location, &how);
  if (!how.is_unknown) {
    end_call(&ended, nag_shadow_below(nag_self.top), time);
    if (nag_self.buffer != NULL) nag_self.buffer->last_time = time;
  }
  if (how.is_last) nag_shadow_resume();
  nag_restore_signals(signals);
  return back;
}

// The slot is freed first: what a signal handler calls meanwhile is inside of the caller.
uint64_t nag_leave_profile(nag_slot *slot, uint64_t location) {
  uint64_t time = nag_time();
  if (!nag_shadow_is_running(slot, location)) return leave_slowly(slot, location, time);
  const nag_slot ended = *slot;
  uint64_t back = nag_shadow_pop_running(slot, location);
  end_call(&ended, nag_shadow_below(slot), time);
  if (nag_self.buffer != NULL) nag_self.buffer->last_time = time;
  return back;
}

// What other stacks have spent meanwhile is not the innermost function's own time. (Those outside of
// it subtract all of its time.)
void nag_profile_switched(nag_stack *to, uint64_t now) {
  const nag_slot *slot = nag_stack_innermost(to);
  nrec_profile_entry *entry = slot == NULL || to->left == 0 ? NULL : entry_of(slot->function);
  if (entry != NULL && now > to->left) add((uint64_t *)&entry->self_time, to->left - now);
}

// The caller has waited until now.
void nag_profile_split(uint32_t count, uint32_t number, uint64_t now, const nag_slot *slot,
                       const nag_slot *caller) {
  (void)count, (void)number;
  nrec_profile_entry *entry = caller == NULL ? NULL : entry_of(caller->function);
  if (entry != NULL && now > slot->time) add((uint64_t *)&entry->self_time, slot->time - now);
}

// A frame ended by an exception or longjmp: when it was unwound, if the agent was told of that, else
// at the last entry or return before. A frame that returned on another thread has no end here.
void nag_profile_dropped(const nag_slot *slot, const nag_slot *caller) {
  if (nag_hooks(slot) && nag_self.buffer != NULL) {
    uint64_t last = nag_self.buffer->last_time;
    end_call(slot, caller, nag_self.unwound > last ? nag_self.unwound : last);
    return;
  }
  nrec_profile_entry *entry = entry_of(slot->function);
  if (entry != NULL && entry->open_calls) add_narrow(&entry->open_calls, ~0u);
}

uint64_t nag_profile_finish(nag_buffer *buffer) {
  uint64_t calls = 0;
  for (uint64_t i = 0; i < buffer->profiled; i++) calls += buffer->profile[i].calls;
  buffer->profile = NULL;
  buffer->profiled = 0;
  nag_chunks_finish(buffer);
  return calls;
}
