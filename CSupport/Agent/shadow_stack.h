// SPDX-License-Identifier: Apache-2.0
//
// The stacks that a thread runs on, as the agent tells them apart: its own, and those of coroutines
// and of signals. Each has slots of its own for its hooked returns.
//
//   nag_stack     a stack: the slots of its open functions are in segments, the innermost first
//   nag_segment   a run of slots; the first is a sentinel, or a slot of the stack it was split from
//   nag_block     memory for slots; used by one segment, and by the parts that were split off it

#ifndef NAG_SHADOW_STACK_H
#define NAG_SHADOW_STACK_H

#include "Trampolines.h"
#include "thread_state.h"

typedef struct nag_block {
  nag_slot *slots;
  uint32_t count;          ///< those that are mapped
  uint32_t users;          ///< segments
  uint32_t region;         ///< of which it is the whole; NAG_SMALL: a small one
  struct nag_block *next;  ///< of those that are free
} nag_block;

enum { NAG_SMALL = ~0u, NAG_SMALL_SLOTS = 128 };

typedef struct nag_segment {
  nag_slot *first;             ///< below the first slot that is its own
  nag_slot *top, *end;         ///< as nag_tls has them; of the current segment, at the last slow path
  struct nag_segment *outer;   ///< of the same stack; NULL: none
  nag_block *block;
} nag_segment;

typedef struct nag_stack {
  nag_segment *inner;
  uint64_t high;               ///< where its outermost frame is
  uint64_t left;               ///< when another stack was switched to; in units
  struct nag_stack *before;    ///< the stack from which it was switched to last
  uint32_t before_id;          ///< that one's number then
  uint32_t id;                 ///< 0: the thread's own; NAG_NO_STACK: there is no such stack any more
  uint32_t listed;             ///< 1 + number of the chunk in which its functions were listed last
} nag_stack;

enum { NAG_NO_STACK = ~0u };

/// All of a thread's.
typedef struct nag_stacks {
  nag_stack own;
  nag_stack *current;
  nag_stack **sorted;          ///< all others that have frames, by `high`, ascending
  uint32_t count, capacity;
  uint32_t last_id;
  uint32_t sweep_at;           ///< at so many it is looked which of them are over
  void *free_nodes;
  void *pages;                 ///< of nodes, linked
  nag_block *free_blocks;      ///< small ones
  uint8_t *aside;              ///< memory of a stack for slow paths (nag_aside); NULL: none was needed
  bool is_aside;               ///< one of them is running there
  uint32_t small_region, small_used;  ///< 1 + the region that small blocks come from; how many it gave
} nag_stacks;

// shadow_regions.c
/// `unwinding`: see nag_trampolines_find.
bool nag_regions_prepare(nag_unwinding *unwinding);
/// A block of slots, all free; NULL: there is none. `is_large`: a region, which can grow.
nag_block *nag_block_take(nag_stacks *all, bool is_large);
/// Makes a large block longer by a part. False: there is no more.
bool nag_block_grow(nag_block *block);
/// One user less.
void nag_block_release(nag_stacks *all, nag_block *block);
/// The thread ends: its regions are another's from now on, but those that `keeps`.
void nag_regions_release(const nag_tls *self, bool keeps);
/// Whether the slot is in a region of this thread's.
bool nag_is_this_threads(const nag_slot *slot);
void nag_regions_reserve(uint32_t count);  ///< for threads that may not map memory later
/// Memory for one of the structures above, zeroed; NULL: there is none.
void *nag_node_take(nag_stacks *all);
void nag_node_release(nag_stacks *all, void *node);
void nag_nodes_release(nag_stacks *all);

// slow_stack.c
/// Calls `function`. If the traced call at `location` is not on the thread's own stack, it may be on a
/// small one (a signal's alternate stack, a coroutine's): then it runs on a stack of the agent's.
void nag_aside(uint64_t location, void (*function)(void *), void *argument);

// stacks.c
/// The innermost slot that is in use; NULL: there is none.
nag_slot *nag_stack_innermost(const nag_stack *stack);
/// Frees the innermost slot.
void nag_stack_drop(nag_stacks *all, nag_stack *stack);
/// A free slot, taken; NULL: there is no memory.
nag_slot *nag_stack_take(nag_stacks *all, nag_stack *stack);
/// Whether the slot is one of the stack's.
bool nag_stack_has(const nag_stack *stack, const nag_slot *slot);
nag_stack *nag_stack_make(nag_stacks *all, uint64_t high);
void nag_stack_remove(nag_stacks *all, nag_stack *stack);
/// Its outermost frame will be there.
void nag_stack_move(nag_stacks *all, nag_stack *stack, uint64_t high);
/// Makes the frames from `slot` inwards a stack of their own; NULL: there is no memory.
nag_stack *nag_stack_split(nag_stacks *all, nag_stack *stack, nag_slot *slot);
/// All slots are free already: the table and the sentinels are.
void nag_stacks_release(nag_stacks *all);
/// Index of the first of the sorted stacks whose `high` is at least `location`.
uint32_t nag_stack_index(const nag_stacks *all, uint64_t location);

// stack_finding.c
/// A walk over a stack's slots, outwards.
typedef struct nag_walk {
  const nag_segment *segment;
  nag_slot *slot;          ///< behind the next one
} nag_walk;
nag_walk nag_walk_over(const nag_stack *stack);
nag_slot *nag_walk_next(nag_walk *over);  ///< NULL: there is no other
/// How far a call may be below its caller's frame, on a stack whose end is not known. Where a frame is
/// larger, what it calls seems to be on a new stack; where stacks are smaller, one may be taken for
/// another's deeper calls.
enum { NAG_NEAR = 1 << 13 };
/// Where a call is whose return address is at a place.
typedef struct nag_found {
  nag_stack *stack;
  nag_slot *slot;          ///< of the innermost frame that is not further in; NULL: there is none
} nag_found;
nag_found nag_stack_find(nag_stacks *all, uint64_t location);
/// The innermost frame of a stack that is not further in than `location`; NULL: there is none.
nag_slot *nag_stack_above(const nag_stack *stack, uint64_t location);
bool nag_is_near(const nag_slot *slot, uint64_t location);  ///< it may be what the frame calls
bool nag_is_own(uint64_t location);        ///< on the thread's own stack, or an array in its frames
bool nag_is_in_memory(const nag_slot *slot);  ///< the frame's return address is its trampoline
/// `floor` of the current stack, on which a call is whose return address is at `location`.
uint64_t nag_stack_floor(const nag_stacks *all, uint64_t location);

// stack_switching.c
void nag_stack_switch(nag_stacks *all, nag_stack *to);
/// Makes the stack on which a call with its return address at `location` runs the current one, without
/// frames that are over. False: there is no memory for it.
bool nag_stack_settle(nag_stacks *all, uint64_t location);
/// Removes the innermost frame, and calls the tracer for it.
void nag_frame_drop(nag_stacks *all, nag_stack *stack, nag_slot *slot);
void nag_tell_unwound(const nag_stacks *all, uint32_t count);  ///< so many were dropped
/// Removes the current stack's innermost frames that have ended.
void nag_frames_drop_ended(nag_stacks *all);
/// Removes the current stack's frames from `slot` inwards. If they may go on, they become a stack of
/// their own.
void nag_frames_clear(nag_stacks *all, nag_slot *slot);

/// In a slot's `stack`, which has room for them. A return whose place is not the very word is slow.
enum {
  NAG_UNWOUND = 1,    ///< an exception or longjmp has ended the frame
  NAG_OUTERMOST = 2,  ///< of a stack that is not the thread's own: see nag_shadow_resume
};

/// The current segment is nag_self's while the program runs, and its own in slow paths.
static inline void nag_enter_slow_path(nag_stacks *all) {
  if (nag_self.first != NULL) all->current->inner->top = nag_self.top;
}

static inline void nag_leave_slow_path(const nag_stacks *all) {
  const nag_segment *inner = all->current->inner;
  nag_self.first = inner->first;
  nag_self.end = inner->end;
  nag_self.top = inner->top;
}

static inline uint64_t nag_location(const nag_slot *slot) { return slot->stack & ~(uint64_t)7; }

static inline uint64_t nag_trampoline(const nag_slot *slot) {
  return (uint64_t)slot - NAG_SHADOW_DISTANCE;
}

// --- the common cases, with signals as they are ---

/// The slot of a call, as the assembly takes it; NULL: it is nag_shadow_push's.
static inline nag_slot *nag_shadow_push_running(uint64_t *location, uint32_t function) {
  nag_slot *slot = nag_self.top;
  if (slot >= nag_self.end || slot[-1].stack <= (uint64_t)location ||
      (uint64_t)location < nag_self.floor)
    return NULL;
  // This order keeps a signal handler's own calls correct: the slot is taken first, then filled.
  *(nag_slot *volatile *)&nag_self.top = slot + 1;
  *(volatile uint64_t *)&slot->stack = (uint64_t)location;
  slot->function = function;
  slot->return_address = *location;
  *(volatile uint64_t *)location = nag_trampoline(slot);
  return slot;
}

/// Whether the innermost slot returns where it is expected.
static inline bool nag_shadow_is_running(const nag_slot *slot, uint64_t location) {
  return nag_self.top == slot + 1 && slot->stack == location;
}

/// Frees the innermost slot, and returns its return address.
static inline uint64_t nag_shadow_pop_running(nag_slot *slot, uint64_t location) {
  uint64_t back = *(volatile uint64_t *)&slot->return_address;
  *(volatile uint64_t *)location = back;  // for unwinders, before another call takes the slot
  *(volatile uint64_t *)&slot->stack = NAG_STACK_FREE;
  *(nag_slot *volatile *)&nag_self.top = slot;
  return back;
}

/// shadow.c: the innermost open function of the current stack outside of the current segment.
nag_slot *nag_shadow_innermost_outside(void);
/// The innermost open function of the current stack outside of the slots from `end` on, which are the
/// current segment's; NULL: there is none.
static inline nag_slot *nag_shadow_below(nag_slot *end) {
  if (end == NULL) return NULL;
  return end > nag_self.first + 1 ? end - 1 : nag_shadow_innermost_outside();
}

#endif
