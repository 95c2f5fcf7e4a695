// SPDX-License-Identifier: Apache-2.0
//
// Finds out which of a thread's stacks a place belongs to. Nobody tells the agent of a switch: it sees
// where return addresses lie.

#include "agent.h"
#include "shadow_stack.h"

enum { MOST_TRIED = 4 };

bool nag_is_own(uint64_t location) {
  return location - nag_self.stack_low < nag_self.stack_high - nag_self.stack_low;
}

nag_walk nag_walk_over(const nag_stack *stack) {
  return (nag_walk){stack->inner, stack->inner == NULL ? NULL : stack->inner->top};
}

nag_slot *nag_walk_next(nag_walk *over) {
  while (over->segment != NULL && over->slot == over->segment->first + 1) {
    over->segment = over->segment->outer;
    over->slot = over->segment == NULL ? NULL : over->segment->top;
  }
  return over->segment == NULL ? NULL : --over->slot;
}

nag_slot *nag_stack_above(const nag_stack *stack, uint64_t location) {
  nag_walk over = nag_walk_over(stack);
  for (nag_slot *slot; (slot = nag_walk_next(&over)) != NULL;)
    if (nag_hooks(slot) && nag_location(slot) >= location) return slot;
  return NULL;
}

bool nag_is_in_memory(const nag_slot *slot) {
  return nag_holds(nag_location(slot), nag_trampoline(slot));
}

static void consider(nag_found *best, nag_stack *stack, uint64_t location, bool may_be_gone) {
  nag_slot *slot = nag_stack_above(stack, location);
  if (slot == NULL) return;
  if (best->slot != NULL && nag_location(best->slot) <= nag_location(slot)) return;
  if (may_be_gone && !nag_is_in_memory(slot)) return;
  *best = (nag_found){stack, slot};
}

nag_found nag_stack_find(nag_stacks *all, uint64_t location) {
  nag_found best = {NULL, NULL};
  consider(&best, all->current, location, false);
  if (all->current != &all->own) consider(&best, &all->own, location, true);
  uint32_t at = nag_stack_index(all, location);
  for (uint32_t i = at; i < all->count && i < at + MOST_TRIED; i++)
    if (all->sorted[i] != all->current) consider(&best, all->sorted[i], location, true);
  return best;
}

bool nag_is_near(const nag_slot *slot, uint64_t location) {
  uint64_t place = nag_location(slot);
  return nag_is_own(location) ? nag_is_own(place) : place - location <= NAG_NEAR;
}

// The highest place below `top` that another stack is known to have.
uint64_t nag_stack_floor(const nag_stacks *all, uint64_t top) {
  const nag_stack *current = all->current;
  bool is_own_stack = current == &all->own && nag_is_own(top);
  uint64_t floor = is_own_stack ? nag_self.stack_low : top < NAG_NEAR ? 0 : top - NAG_NEAR;
  for (uint32_t i = nag_stack_index(all, top); i-- > 0;) {
    if (all->sorted[i] == current) continue;
    if (all->sorted[i]->high >= floor) floor = all->sorted[i]->high + 1;
    break;
  }
  if (current != &all->own) {
    nag_walk over = nag_walk_over(&all->own);
    for (nag_slot *slot; (slot = nag_walk_next(&over)) != NULL && nag_location(slot) < top;)
      if (nag_hooks(slot) && nag_location(slot) >= floor) floor = nag_location(slot) + 1;
  }
  return floor;
}
