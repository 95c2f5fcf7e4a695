// SPDX-License-Identifier: Apache-2.0
//
// The structures of shadow_stack.h: slots of a stack, and the stacks of a thread. Which stack the
// program runs on is shadow.c's to find out.

#include "agent.h"
#include "shadow_stack.h"
#include "syscalls.h"

static bool is_empty(const nag_segment *segment) { return segment->top == segment->first + 1; }

nag_slot *nag_stack_innermost(const nag_stack *stack) {
  for (const nag_segment *one = stack->inner; one != NULL; one = one->outer)
    if (!is_empty(one)) return one->top - 1;
  return NULL;
}

static void free_segment(nag_stacks *all, nag_segment *segment) {
  nag_block_release(all, segment->block);
  nag_node_release(all, segment);
}

void nag_stack_drop(nag_stacks *all, nag_stack *stack) {
  while (is_empty(stack->inner) && stack->inner->outer != NULL) {
    nag_segment *empty = stack->inner;
    stack->inner = empty->outer;
    free_segment(all, empty);
  }
  if (!is_empty(stack->inner)) (--stack->inner->top)->stack = NAG_STACK_FREE;
}

// The sentinel has the place of the frame outside, if there is one: a frame above that is on no
// slot's inside. No frame is above the outermost sentinel's.
static nag_segment *make_segment(nag_stacks *all, nag_block *block, nag_segment *outer) {
  nag_segment *segment = block == NULL ? NULL : nag_node_take(all);
  if (segment == NULL) {
    if (block != NULL) nag_block_release(all, block);
    return NULL;
  }
  nag_slot *sentinel = block->slots;
  sentinel->stack = outer == NULL ? NAG_STACK_FREE : nag_location(outer->top - 1);
  *segment = (nag_segment){.first = sentinel, .top = sentinel + 1, .end = sentinel + block->count,
                           .outer = outer, .block = block};
  return segment;
}

static bool widen(nag_stacks *all, nag_stack *stack) {
  nag_segment *inner = stack->inner;
  bool is_at_end = inner != NULL && inner->end == inner->block->slots + inner->block->count;
  if (is_at_end && nag_block_grow(inner->block)) {
    inner->end = inner->block->slots + inner->block->count;
    return true;
  }
  bool is_large = stack == &all->own || inner != NULL;
  nag_segment *more = make_segment(all, nag_block_take(all, is_large), inner);
  if (more == NULL) return false;
  stack->inner = more;
  return true;
}

nag_slot *nag_stack_take(nag_stacks *all, nag_stack *stack) {
  if ((stack->inner == NULL || stack->inner->top == stack->inner->end) && !widen(all, stack))
    return NULL;
  return stack->inner->top++;
}

bool nag_stack_has(const nag_stack *stack, const nag_slot *slot) {
  for (const nag_segment *one = stack->inner; one != NULL; one = one->outer)
    if (slot > one->first && slot < one->top) return true;
  return false;
}

// --- the table ----------------------------------------------------------------------------------

uint32_t nag_stack_index(const nag_stacks *all, uint64_t location) {
  uint32_t low = 0, high = all->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (all->sorted[middle]->high < location) low = middle + 1;
    else high = middle;
  }
  return low;
}

static void insert(nag_stacks *all, nag_stack *stack, uint64_t high) {
  stack->high = high;
  uint32_t at = nag_stack_index(all, high);
  for (uint32_t i = all->count++; i > at; i--) all->sorted[i] = all->sorted[i - 1];
  all->sorted[at] = stack;
}

static void take_out(nag_stacks *all, const nag_stack *stack) {
  uint32_t at = nag_stack_index(all, stack->high);
  while (at < all->count && all->sorted[at] != stack) at++;
  if (at == all->count) return;
  all->count--;
  for (; at < all->count; at++) all->sorted[at] = all->sorted[at + 1];
}

static bool has_room(nag_stacks *all) {
  if (all->count < all->capacity) return true;
  uint32_t capacity = all->capacity == 0 ? 512 : 2 * all->capacity;
  nag_stack **wider = nag_pages(capacity * sizeof *wider);
  if (wider == NULL) return false;
  for (uint32_t i = 0; i < all->count; i++) wider[i] = all->sorted[i];
  if (all->sorted != NULL) nag_unmap(all->sorted, all->capacity * sizeof *wider);
  all->sorted = wider;
  all->capacity = capacity;
  return true;
}

static nag_stack *make_bare(nag_stacks *all) {
  nag_stack *stack = has_room(all) ? nag_node_take(all) : NULL;
  if (stack != NULL) stack->id = ++all->last_id;
  return stack;
}

nag_stack *nag_stack_make(nag_stacks *all, uint64_t high) {
  nag_stack *stack = make_bare(all);
  if (stack == NULL) return NULL;
  if (!widen(all, stack)) {
    nag_node_release(all, stack);
    return NULL;
  }
  insert(all, stack, high);
  return stack;
}

void nag_stack_move(nag_stacks *all, nag_stack *stack, uint64_t high) {
  take_out(all, stack);
  insert(all, stack, high);
}

void nag_stack_remove(nag_stacks *all, nag_stack *stack) {
  take_out(all, stack);
  for (nag_segment *one = stack->inner, *outer; one != NULL; one = outer) {
    outer = one->outer;
    free_segment(all, one);
  }
  stack->inner = NULL;
  stack->id = NAG_NO_STACK;
  nag_node_release(all, stack);
}

// The slots stay where they are, for the frames return to their trampolines. So the stack itself gets
// no slot behind those that it keeps there: it goes on in another segment.
nag_stack *nag_stack_split(nag_stacks *all, nag_stack *stack, nag_slot *slot) {
  nag_segment *holder = stack->inner, *inside = NULL;
  while (slot <= holder->first || slot >= holder->top) inside = holder, holder = holder->outer;
  nag_stack *part = make_bare(all);
  nag_segment *segment = part == NULL ? NULL : nag_node_take(all);
  if (segment == NULL) {
    if (part != NULL) nag_node_release(all, part);
    return NULL;
  }
  *segment = *holder;
  segment->first = slot - 1;
  segment->outer = NULL;
  segment->block->users++;
  holder->top = holder->end = slot;
  part->inner = segment;
  if (inside != NULL) {
    part->inner = stack->inner;
    inside->outer = segment;
  }
  stack->inner = holder;
  insert(all, part, nag_location(slot));
  return part;
}

static void free_sentinels(const nag_stack *stack) {
  for (const nag_segment *one = stack->inner; one != NULL; one = one->outer)
    one->block->slots[0].stack = NAG_STACK_FREE;
}

void nag_stacks_release(nag_stacks *all) {
  if (all->aside != NULL) nag_unmap(all->aside, NAG_SCRATCH_BYTES);
  all->aside = NULL;
  free_sentinels(&all->own);
  for (uint32_t i = 0; i < all->count; i++) free_sentinels(all->sorted[i]);
  if (all->sorted != NULL) nag_unmap(all->sorted, all->capacity * sizeof *all->sorted);
  all->sorted = NULL;
  all->count = all->capacity = 0;
}
