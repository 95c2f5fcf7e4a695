// SPDX-License-Identifier: Apache-2.0
//
// Goes from one stack to another, and removes frames that are over (see shadow.c).

#include "agent.h"
#include "shadow_stack.h"

enum { FIRST_SWEEP = 64 };

void nag_stack_switch(nag_stacks *all, nag_stack *to) {
  nag_stack *from = all->current;
  if (from == to) return;
  uint64_t now = nag_time();
  nag_leave_slow_path(all);  // what the tracer looks at
  if (nag_config.tracer->switched != NULL) nag_config.tracer->switched(to, now);
  from->left = now;
  to->before = from;
  to->before_id = from->id;
  all->current = to;
  if (from != &all->own && nag_stack_innermost(from) == NULL) {
    to->before = from->before;
    to->before_id = from->before_id;
    nag_stack_remove(all, from);
  }
}

// --- frames that are over, or elsewhere ---------------------------------------------------------

void nag_tell_unwound(const nag_stacks *all, uint32_t count) {
  nag_leave_slow_path(all);
  if (count > 0 && nag_config.tracer->unwound != NULL) nag_config.tracer->unwound(count);
}

void nag_frame_drop(nag_stacks *all, nag_stack *stack, nag_slot *slot) {
  nag_slot last = *slot;
  nag_stack_drop(all, stack);
  last.stack = nag_hooks(slot) ? nag_location(&last) : last.stack;
  if (nag_config.tracer->dropped != NULL) nag_config.tracer->dropped(&last, nag_stack_innermost(stack));
}

// The mark may be wrong: longjmp may have gone to another stack in the same memory, and back. A frame
// whose word is unchanged may still return.
static void keep_return(const nag_slot *slot) {
  if (nag_hooks(slot) && nag_is_in_memory(slot))
    nag_orphan_add(nag_location(slot), nag_trampoline(slot), slot->return_address);
}

void nag_frames_drop_ended(nag_stacks *all) {
  nag_stack *stack = all->current;
  uint32_t count = 0;
  for (nag_slot *slot; (slot = nag_stack_innermost(stack)) != NULL; count++) {
    bool has_ended = slot->stack == NAG_STACK_ELSEWHERE ||
                     (slot->stack != NAG_STACK_FREE && slot->stack & NAG_UNWOUND);
    if (!has_ended) break;
    keep_return(slot);
    nag_frame_drop(all, stack, slot);
  }
  nag_tell_unwound(all, count);
}

// Makes the frames from `slot` inwards, which may go on, a stack of their own.
static void suspend(nag_stacks *all, nag_slot *slot) {
  uint32_t count = 0;
  nag_slot *outermost = NULL;
  nag_walk over = nag_walk_over(all->current);
  for (nag_slot *one; (one = nag_walk_next(&over)) != NULL;) {
    count++;
    if (nag_hooks(one)) outermost = one;
    if (one == slot) break;
  }
  const nag_slot *caller = nag_walk_next(&over);
  uint64_t now = nag_time();
  nag_leave_slow_path(all);
  if (nag_config.tracer->split != NULL)
    nag_config.tracer->split(count, all->last_id + 1, now, slot, caller);
  nag_stack *part = nag_stack_split(all, all->current, slot);
  if (part == NULL) return;
  if (outermost != NULL) outermost->stack |= NAG_OUTERMOST;
  part->left = now;
  part->before = all->current;
  part->before_id = all->current->id;
}

void nag_frames_clear(nag_stacks *all, nag_slot *slot) {
  if (!nag_self.is_lent) return suspend(all, slot);
  nag_self.is_lent = false;
  nag_walk over = nag_walk_over(all->current);
  for (nag_slot *one; (one = nag_walk_next(&over)) != NULL;) {
    if (nag_hooks(one)) one->stack |= NAG_UNWOUND;
    if (one == slot) break;
  }
  nag_frames_drop_ended(all);
}

// Whether the return address at `location` is the slot's trampoline: a function that was called by a
// jump at the end of another has the other's.
static bool is_tail_call(const nag_slot *slot, uint64_t location) {
  return *(const uint64_t *)location == nag_trampoline(slot);
}

// Removes from the current stack what is further in than a call whose return address is at
// `location`.
static void clear_inside(nag_stacks *all, uint64_t location) {
  nag_slot *inside = NULL;
  nag_frames_drop_ended(all);
  nag_walk over = nag_walk_over(all->current);
  for (nag_slot *slot; (slot = nag_walk_next(&over)) != NULL; inside = slot) {
    if (slot->stack == NAG_STACK_FREE) break;
    if (!nag_hooks(slot)) continue;
    uint64_t place = nag_location(slot);
    if (place > location || (place == location && is_tail_call(slot, location))) break;
  }
  if (inside != NULL) nag_frames_clear(all, inside);
  nag_frames_drop_ended(all);
}

// --- stacks that are over -----------------------------------------------------------------------

static bool is_anywhere(const nag_stack *stack) {
  nag_walk over = nag_walk_over(stack);
  for (nag_slot *slot; (slot = nag_walk_next(&over)) != NULL;)
    if (nag_hooks(slot) && nag_is_in_memory(slot)) return true;
  return false;
}

// Gives up stacks of which nothing is in memory any more: coroutines that were destroyed. (Or that
// are copied away; so it is done only where there are many. Their frames find their return addresses
// among the orphans.)
static void sweep(nag_stacks *all) {
  if (all->count < all->sweep_at) return;
  nag_stack *running = all->current;
  for (uint32_t i = all->count; i-- > 0;) {
    nag_stack *stack = all->sorted[i];
    if (stack == running || is_anywhere(stack)) continue;
    nag_stack_switch(all, stack);
    nag_tell_unwound(all, NREC_ALL_OPEN);
    nag_walk over = nag_walk_over(stack);
    for (nag_slot *slot; (slot = nag_walk_next(&over)) != NULL;)
      if (nag_hooks(slot))
        nag_orphan_add(nag_location(slot), nag_trampoline(slot), slot->return_address);
    for (nag_slot *slot; (slot = nag_stack_innermost(stack)) != NULL;) nag_frame_drop(all, stack, slot);
    nag_stack_switch(all, running);
  }
  all->sweep_at = 2 * all->count < FIRST_SWEEP ? FIRST_SWEEP : 2 * all->count;
}

// --- a call -------------------------------------------------------------------------------------

bool nag_stack_settle(nag_stacks *all, uint64_t location) {
  const nag_slot *innermost = nag_stack_innermost(all->current);
  // A handler has interrupted the code that fills this slot: it goes on where it was.
  if (innermost != NULL && innermost->stack == NAG_STACK_FREE) return true;
  nag_frames_drop_ended(all);
  nag_found above = nag_stack_find(all, location);
  nag_stack *to = above.slot != NULL && nag_is_near(above.slot, location) ? above.stack : NULL;
  if (to == NULL && nag_is_own(location)) to = &all->own;
  if (to == NULL) {
    bool is_free = all->current != &all->own && nag_stack_innermost(all->current) == NULL;
    if (!is_free) sweep(all);
    if (is_free) nag_stack_move(all, all->current, location);
    to = is_free ? all->current : nag_stack_make(all, location);
    if (to == NULL) return false;
  }
  if (to == &all->own && location < nag_self.stack_low) nag_self.stack_low = location - NAG_NEAR;
  nag_stack_switch(all, to);
  clear_inside(all, location);
  if (to != &all->own && nag_stack_innermost(to) == NULL && to->high != location)
    nag_stack_move(all, to, location);
  nag_self.floor = nag_stack_floor(all, location);
  return true;
}
