// SPDX-License-Identifier: Apache-2.0
//
// The shadow stack: which return addresses were replaced by trampolines, stack by stack.
//
// A thread runs on its own stack, on those of coroutines, and on a signal's alternate one. Nobody
// tells the agent of a switch: it sees where return addresses lie. A call is on the stack whose
// innermost open function lies next above it (stack_finding.c), or on a new one where there is none
// near (stack_switching.c). What lies further in on that stack
//
//   - was ended by an exception or longjmp: these announce which frames they end; or
//   - is suspended: another stack has its memory in a frame of this one, or copies it away and back.
//     These frames become a stack of their own.
//
// The hot path compares with `top`, as long as calls lie below the innermost one and above `floor`:
// another stack begins there at the latest. A wrong guess spoils only what is recorded of some calls:
// a return finds its address by its slot in any case.
//
// `top` is raised before a slot is filled, so that a signal handler that runs in between takes the
// next slot. It finds the slot below free, and leaves it alone: the interrupted code will fill it.

#include <signal.h>

#include "agent.h"
#include "shadow_stack.h"
#include "syscalls.h"

enum { RESERVED_REGIONS = 256 };

static bool is_prepared;

void nag_shadow_prepare(void) {
  if (nag_config.tracer->return_handler != NULL) is_prepared = nag_regions_prepare(nag_shadow_unwinding);
}

void nag_shadow_reserve(void) {
  nag_stacks *all = nag_self.stacks;
  nag_segment *own = all == NULL ? NULL : all->own.inner;
  while (own != NULL && nag_block_grow(own->block)) {
  }
  nag_regions_reserve(RESERVED_REGIONS);
}

static bool begin(void) {
  if (!is_prepared || nag_self.refused) return false;
  nag_stacks *all = nag_pages(sizeof *all);
  if (all != NULL) {
    nag_find_stack();
    all->current = &all->own;
    nag_slot *first = nag_stack_take(all, &all->own);
    if (first == NULL) {
      nag_nodes_release(all);
      nag_unmap(all, sizeof *all);
      all = NULL;
    } else {
      nag_stack_drop(all, &all->own);
      // Nothing above its end is on it.
      if (nag_self.stack_high != 0) all->own.inner->first->stack = nag_self.stack_high;
    }
  }
  nag_self.refused = all == NULL;
  nag_self.stacks = all;
  return all != NULL;
}

typedef struct push {
  uint64_t *location;
  uint32_t function;
  nag_slot *slot;
} push;

static void push_slot(void *argument) {
  push *call = argument;
  uint64_t location = (uint64_t)call->location;
  nag_stacks *all = nag_self.stacks;
  nag_enter_slow_path(all);
  nag_slot *slot = NULL;
  if (nag_stack_settle(all, location)) slot = nag_stack_take(all, all->current);
  if (slot != NULL) {
    bool is_outermost = all->current != &all->own && slot == all->current->inner->first + 1 &&
                        all->current->inner->outer == NULL;
    slot->stack = location | (is_outermost ? NAG_OUTERMOST : 0);
    slot->return_address = *call->location;
    slot->function = call->function;
    *call->location = nag_trampoline(slot);
  }
  nag_leave_slow_path(all);
  call->slot = slot;
}

nag_slot *nag_shadow_push(uint64_t *location, uint32_t function) {
  if (nag_self.stacks == NULL && !begin()) return NULL;
  push call = {location, function, NULL};
  nag_aside((uint64_t)location, push_slot, &call);
  return call.slot;
}

uint32_t nag_shadow_live_depth(uint64_t location) {
  nag_stacks *all = nag_self.stacks;
  if (all == NULL) return 0;
  nag_enter_slow_path(all);
  nag_stack_settle(all, location);
  nag_leave_slow_path(all);
  return nag_shadow_depth();
}

// --- a return -----------------------------------------------------------------------------------

static nag_stack *holder_of(nag_stacks *all, const nag_slot *slot) {
  if (nag_stack_has(all->current, slot)) return all->current;
  if (nag_stack_has(&all->own, slot)) return &all->own;
  uint32_t at = nag_stack_index(all, nag_location(slot));
  for (uint32_t i = 0; i < all->count; i++) {
    nag_stack *one = all->sorted[(at + i) % all->count];
    if (nag_stack_has(one, slot)) return one;
  }
  return NULL;
}

// A coroutine's frame returned on another thread than the one it began on, or a frame returned that
// seemed to be over. Reads the address first, and then checks that the slot was still the frame's
// own.
static uint64_t pop_elsewhere(nag_slot *slot, uint64_t location, nag_returned *how) {
  *how = (nag_returned){.is_unknown = true};
  uint64_t back = __atomic_load_n(&slot->return_address, __ATOMIC_ACQUIRE);
  uint64_t seen = __atomic_load_n(&slot->stack, __ATOMIC_ACQUIRE);
  if (!nag_is_this_threads(slot) && (seen & ~(NAG_UNWOUND | NAG_OUTERMOST)) == location &&
      __atomic_compare_exchange_n(&slot->stack, &seen, NAG_STACK_ELSEWHERE, false,
                                  __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
    return back;
  return nag_orphan_take(location, nag_trampoline(slot));
}

// Where a function takes its stack arguments off and ends in a tail call (swifttailcc and others), the
// return address moves up. What is below the stack pointer then is no frame any more: the slot's frame
// is the one that returns, unless an older one of the same trampoline is known to return there.
static bool has_moved(const nag_slot *slot, uint64_t location) {
  enum { MOST_MOVED = 1 << 12 };
  uint64_t place = nag_location(slot);
  return place < location && location - place <= MOST_MOVED &&
         !nag_orphan_is_there(location, nag_trampoline(slot));
}

bool nag_shadow_matches(const nag_slot *slot, uint64_t location) {
  return nag_is_this_threads(slot) && nag_hooks(slot) &&
         (nag_location(slot) == location || has_moved(slot, location));
}

typedef struct pop {
  nag_slot *slot;
  uint64_t location, back;
  nag_returned *how;
  bool is_done;
} pop;

static void pop_slot(void *argument) {
  pop *call = argument;
  nag_slot *slot = call->slot;
  nag_stacks *all = nag_self.stacks;
  nag_enter_slow_path(all);
  slot->stack &= ~NAG_UNWOUND;  // it has not
  nag_stack *holder = holder_of(all, slot);
  if (holder == NULL) return nag_leave_slow_path(all);
  nag_stack_switch(all, holder);
  nag_frames_drop_ended(all);
  // Frames further in that have not ended belong to another stack.
  nag_slot *inside = NULL;
  nag_walk over = nag_walk_over(holder);
  for (nag_slot *one; (one = nag_walk_next(&over)) != slot; inside = one) {
  }
  if (inside != NULL) nag_frames_clear(all, inside);
  call->back = slot->return_address;
  nag_stack_drop(all, holder);
  call->is_done = true;
  *call->how =
      (nag_returned){.is_last = holder != &all->own && nag_stack_above(holder, 0) == NULL};
  nag_self.floor = nag_stack_floor(all, call->location + 8);
  nag_leave_slow_path(all);
}

uint64_t nag_shadow_pop(nag_slot *slot, uint64_t location, nag_returned *how) {
  if (nag_self.stacks == NULL || !nag_shadow_matches(slot, location))
    return pop_elsewhere(slot, location, how);
  pop call = {.slot = slot, .location = location, .how = how};
  nag_aside(location, pop_slot, &call);
  return call.is_done ? call.back : pop_elsewhere(slot, location, how);
}

// The outermost frame of another stack has returned: what runs now is most often what ran before it
// was entered. A signal's handler may have interrupted code that is about to record a call there.
void nag_shadow_resume(void) {
  nag_stacks *all = nag_self.stacks;
  nag_enter_slow_path(all);
  nag_stack *before = all->current->before;
  bool is_there = before != NULL && before->id == all->current->before_id;
  nag_stack_switch(all, is_there ? before : &all->own);
  const nag_slot *innermost = nag_stack_innermost(all->current);
  bool is_known = innermost != NULL && innermost->stack != NAG_STACK_FREE;
  nag_self.floor = nag_stack_floor(all, is_known ? nag_location(innermost) : nag_self.stack_high);
  nag_leave_slow_path(all);
}

// --- frames that end without returning ----------------------------------------------------------

// An exception or a cancellation ends the innermost frame that it has not ended yet, on the stack that
// it runs on.
static void note_unwinding(void) {
  nag_stacks *all = nag_self.stacks;
  if (all == NULL) return;
  uint64_t signals = nag_block_signals();
  nag_enter_slow_path(all);
  nag_self.unwound = nag_time();
  nag_found above = nag_stack_find(all, (uint64_t)__builtin_frame_address(0));
  nag_walk over = nag_walk_over(above.slot == NULL ? all->current : above.stack);
  nag_slot *slot;
  while ((slot = nag_walk_next(&over)) != NULL && (!nag_hooks(slot) || slot->stack & NAG_UNWOUND)) {
  }
  if (slot != NULL) slot->stack |= NAG_UNWOUND;
  nag_restore_signals(signals);
}

int nag_shadow_unwinding(int version, int actions, uint64_t exception_class,
                         struct _Unwind_Exception *exception, struct _Unwind_Context *context,
                         const void *caller) {
  return nag_handler_frame(version, actions, exception_class, exception, context, caller,
                           note_unwinding);
}

// longjmp ends the frames below the stack pointer that it sets, on that pointer's stack.
void nag_shadow_jumping(uint64_t pointer) {
  nag_stacks *all = nag_self.stacks;
  if (all == NULL) return;
  uint64_t signals = nag_block_signals();
  nag_enter_slow_path(all);
  nag_self.unwound = nag_time();
  nag_found above = nag_stack_find(all, pointer);
  nag_stack *stack = above.slot != NULL && nag_is_near(above.slot, pointer) ? above.stack
                     : nag_is_own(pointer)                                  ? &all->own
                                                                        : NULL;
  nag_walk over = stack == NULL ? (nag_walk){NULL, NULL} : nag_walk_over(stack);
  for (nag_slot *slot; (slot = nag_walk_next(&over)) != NULL && slot != above.slot;)
    if (nag_hooks(slot)) slot->stack |= NAG_UNWOUND;
  nag_restore_signals(signals);
}

void nag_shadow_end(void) {
  nag_stacks *all = nag_self.stacks;
  if (all == NULL) return;
  nag_enter_slow_path(all);
  uint32_t dropped = 0;
  if (nag_stack_innermost(&all->own) != NULL) {
    nag_stack_switch(all, &all->own);
    for (nag_slot *slot; (slot = nag_stack_innermost(&all->own)) != NULL; dropped++)
      nag_frame_drop(all, &all->own, slot);
  }
  // A thread that was cancelled at any instruction may have a slot whose entry was not recorded.
  nag_tell_unwound(all, dropped > 0 ? NREC_ALL_OPEN : 0);
  nag_leave_slow_path(all);
}

// A slot that cannot be given away keeps its region: no other thread gets it.
static bool give_away(nag_slot *slot) {
  // This may be a coroutine that continues on another thread.
  bool may_return = nag_hooks(slot) && nag_is_in_memory(slot);
  if (may_return && !nag_orphan_add(nag_location(slot), nag_trampoline(slot), slot->return_address))
    return false;
  slot->stack = NAG_STACK_FREE;
  return true;
}

void nag_shadow_release(void) {
  nag_stacks *all = nag_self.stacks;
  if (all == NULL) return;
  nag_enter_slow_path(all);
  bool is_free = true;
  for (uint32_t i = 0; i <= all->count; i++) {
    nag_walk over = nag_walk_over(i == all->count ? &all->own : all->sorted[i]);
    for (nag_slot *slot; (slot = nag_walk_next(&over)) != NULL;) is_free = give_away(slot) && is_free;
  }
  nag_stacks_release(all);
  nag_self.stacks = NULL;
  nag_self.top = nag_self.end = nag_self.first = NULL;
  nag_regions_release(&nag_self, !is_free);
  nag_nodes_release(all);
  nag_unmap(all, sizeof *all);
}

// The thread is stopped outside of the agent, so its slots are settled, and each frame whose return
// address is a trampoline can be given its own.
static bool give_address_back(const nag_slot *slot) {
  if (!nag_hooks(slot) || !nag_is_in_memory(slot)) return true;
  *(volatile uint64_t *)nag_location(slot) = slot->return_address;
  return nag_holds(nag_location(slot), slot->return_address);
}

uint32_t nag_shadow_give_back(nag_tls *self) {
  nag_stacks *all = self->stacks;
  if (all == NULL) return 0;
  if (self->first != NULL) all->current->inner->top = self->top;
  uint32_t kept = 0;
  for (uint32_t i = 0; i <= all->count; i++) {
    nag_walk over = nag_walk_over(i == all->count ? &all->own : all->sorted[i]);
    for (nag_slot *slot; (slot = nag_walk_next(&over)) != NULL;) {
      bool is_kept = !give_address_back(slot) &&
                     !nag_orphan_add(nag_location(slot), nag_trampoline(slot), slot->return_address);
      kept += is_kept;
      if (!is_kept) slot->stack = NAG_STACK_FREE;
    }
  }
  nag_stacks_release(all);
  nag_regions_release(self, kept > 0);
  nag_nodes_release(all);
  nag_unmap(all, sizeof *all);
  return kept;
}

// --- what is open -------------------------------------------------------------------------------

uint32_t nag_shadow_depth(void) {
  const nag_stacks *all = nag_self.stacks;
  if (all == NULL || nag_self.first == NULL) return 0;
  uint32_t depth = (uint32_t)(nag_self.top - nag_self.first) - 1;
  for (const nag_segment *one = all->current->inner->outer; one != NULL; one = one->outer)
    depth += (uint32_t)(one->top - one->first) - 1;
  return depth;
}

nag_slot *nag_shadow_innermost_outside(void) {
  nag_stack outside = *nag_self.stacks->current;
  outside.inner = outside.inner->outer;
  return nag_stack_innermost(&outside);
}

bool nag_shadow_has_open(const nag_slot *slot, uint32_t function) {
  const nag_stacks *all = nag_self.stacks;
  if (all->count == 0) return true;  // there is only one stack
  nag_walk over = {all->current->inner, (nag_slot *)slot};
  for (const nag_slot *one; (one = nag_walk_next(&over)) != NULL;)
    if (nag_hooks(one) && one->function == function) return true;
  return false;
}

uint32_t nag_shadow_list(const nag_stack *stack, uint8_t *numbers, uint32_t most) {
  uint32_t count = 0;
  nag_walk over = nag_walk_over(stack);
  for (const nag_slot *slot; count < most && (slot = nag_walk_next(&over)) != NULL;)
    count += nag_hooks(slot);
  over = nag_walk_over(stack);
  for (uint32_t left = count; left > 0;) {
    const nag_slot *slot = nag_walk_next(&over);
    if (nag_hooks(slot)) __builtin_memcpy(numbers + --left * sizeof slot->function, &slot->function,
                                          sizeof slot->function);
  }
  return count;
}
