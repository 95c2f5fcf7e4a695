// SPDX-License-Identifier: Apache-2.0
//
// The shadow stack: which return addresses were replaced by trampolines.
//
// Each slot has its own trampoline. A return to trampoline i comes from the frame of slot i,
// whatever exceptions, longjmp or stack switches happened in between. All trampolines are in one
// reserved address range, and every slot is NAG_SHADOW_DISTANCE above its trampoline, so that one
// unwind rule serves them all (CSupport/Trampolines).
//
//   range   | trampolines of thread 0 | of thread 1 | …   (the same code everywhere)
//   + 2 GiB | slots of thread 0       | of thread 1 | …
//
// `top` is raised before a slot is filled, so that a signal handler that runs in between takes the
// next slot. It finds the slot below free, and leaves it alone: the interrupted code will fill it.

#include <signal.h>

#include "agent.h"
#include "syscalls.h"

enum {
  REGION_BYTES = 1 << 20,                             // 32,767 frames a thread
  REGIONS = NAG_SHADOW_DISTANCE / REGION_BYTES,       // 2,032 threads at a time
  GROWTH = 1 << 16,
  RESERVED_REGIONS = 256,                             // where none can be mapped later
};

static uint8_t *range;                    // of trampolines; NULL: returns are not hooked
static _Atomic uint32_t used_regions[REGIONS / 32 + 1];  // a bit each
static uint32_t mapped[REGIONS];          // bytes of each region that are mapped

void nag_shadow_prepare(void) {
  if (nag_config.tracer->return_handler != NULL) range = nag_trampolines_find(nag_shadow_unwinding);
}

// 4c 89 5c 24 f0      mov  %r11, -16(%rsp)
// 4c 8d 1d disp32     lea  slot(%rip), %r11
// ff 25 06 00 00 00   jmp  *handler(%rip)
// cc … cc, then the handler's address
static void write_trampolines(uint8_t *code, size_t bytes) {
  static const uint8_t text[24] = {
    0x4c, 0x89, 0x5c, 0x24, 0xf0, 0x4c, 0x8d, 0x1d, 0, 0, 0, 0, 0xff, 0x25, 6, 0, 0, 0,
    0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
  };
  const char *handler = nag_config.tracer->return_handler;
  const int32_t distance = NAG_SHADOW_DISTANCE - 12;
  for (uint8_t *one = code; one < code + bytes; one += NAG_SLOT_BYTES) {
    nag_copy(one, text, sizeof text);
    __builtin_memcpy(one + 8, &distance, 4);
    __builtin_memcpy(one + 24, &handler, 8);
  }
}

// Maps the next part of a region: its trampolines, then its slots, all free.
static bool grow(uint32_t region) {
  uint32_t have = mapped[region];
  if (have == REGION_BYTES || nag_is_confined) return false;
  uint8_t *code = range + (uint64_t)region * REGION_BYTES + have;
  uint8_t *data = code + NAG_SHADOW_DISTANCE;
  const int fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  if (!nag_mmap(data, GROWTH, PROT_READ | PROT_WRITE, fixed, -1, 0)) return false;
  for (size_t at = 0; at < GROWTH; at += NAG_SLOT_BYTES)
    ((nag_slot *)(data + at))->stack = NAG_STACK_FREE;
  // Nothing runs there yet. No page is writable and executable at once.
  if (!nag_mmap(code, GROWTH, PROT_READ | PROT_WRITE, fixed, -1, 0)) return false;
  write_trampolines(code, GROWTH);
  if (NAG_CALL(SYS_mprotect, code, GROWTH, PROT_READ | PROT_EXEC) != 0) return false;
  mapped[region] = have + GROWTH;
  return true;
}

void nag_shadow_reserve(void) {
  if (range == NULL) return;
  uint32_t own = nag_self.region;
  while (own != 0 && grow(own - 1)) nag_self.end = (nag_slot *)((uint8_t *)nag_self.end + GROWTH);
  for (uint32_t i = 0; i < RESERVED_REGIONS; i++)
    if (mapped[i] == 0 && !grow(i)) return;
}

static uint32_t take_region(void) {
  for (uint32_t word = 0; word < REGIONS / 32; word++) {
    uint32_t seen = used_regions[word];
    while (seen != ~0u) {
      uint32_t bit = (uint32_t)__builtin_ctz(~seen);
      if (atomic_compare_exchange_weak(&used_regions[word], &seen, seen | 1u << bit))
        return word * 32 + bit + 1;
    }
  }
  return 0;
}

// The first slot is a sentinel: every comparison with the slot below has a slot to compare with,
// and no frame is above the sentinel's.
static bool begin(void) {
  if (range == NULL || nag_self.refused) return false;
  uint32_t region = take_region();
  if (region == 0 || (mapped[region - 1] == 0 && !grow(region - 1))) {
    nag_self.refused = 1;
    return false;
  }
  uint8_t *slots = range + (uint64_t)(region - 1) * REGION_BYTES + NAG_SHADOW_DISTANCE;
  nag_find_stack();
  nag_self.region = region;
  nag_self.first = (nag_slot *)slots;
  nag_self.first->stack = NAG_STACK_FREE;
  nag_self.top = nag_self.first + 1;
  nag_self.end = (nag_slot *)(slots + mapped[region - 1]);
  return true;
}

static uint64_t trampoline_of(const nag_slot *slot) {
  return (uint64_t)slot - NAG_SHADOW_DISTANCE;
}

// A slot that cannot be given away keeps its region: no other thread gets it.
static bool give_away(nag_slot *slot) {
  // This may be a coroutine that continues on another thread.
  bool may_return = nag_hooks(slot) && nag_holds(slot->stack, trampoline_of(slot));
  if (may_return && !nag_orphan_add(slot->stack, trampoline_of(slot), slot->return_address))
    return false;
  slot->stack = NAG_STACK_FREE;
  return true;
}

void nag_shadow_release(void) {
  uint32_t region = nag_self.region;
  if (region == 0) return;
  bool is_free = true;
  for (nag_slot *slot = nag_self.first + 1; slot < nag_self.top; slot++)
    is_free = give_away(slot) && is_free;
  nag_self.region = 0;
  nag_self.top = nag_self.end = nag_self.first = NULL;
  region--;
  if (is_free) atomic_fetch_and(&used_regions[region / 32], ~(1u << region % 32));
}

uint32_t nag_shadow_depth(void) {
  return nag_self.first ? (uint32_t)(nag_self.top - nag_self.first) - 1 : 0;
}

// Whether this code runs on a signal's alternate stack, and the slot's frame is on another stack.
static bool is_above_alternate_stack(uint64_t stack, uint64_t location) {
  stack_t alternate = {.ss_flags = 0};
  if (nag_is_confined || NAG_CALL(SYS_sigaltstack, NULL, &alternate) != 0) return false;
  uint64_t low = (uint64_t)alternate.ss_sp;
  return location - low < alternate.ss_size && stack - low >= alternate.ss_size;
}

// Whether a slot's frame is over, judged from a frame whose return address is at `location`: the
// frame's trampoline address is gone, or the frame is below `location` on the same stack. Neither
// sign is a proof. An unchanged word does not prove that the frame is live, because longjmp leaves
// the word. A lower place does not prove that it is over, because the stack of a coroutine or of a
// signal may be an array in main's frame. A wrong guess spoils only what is recorded of that one
// call. It never breaks the return: the return address of a frame that may come back is kept among
// the orphans.
static bool is_dead(const nag_slot *slot, uint64_t location) {
  if (!nag_hooks(slot)) return slot->stack != NAG_STACK_FREE;
  bool is_mapped = slot->stack >= nag_self.mapped_low && slot->stack < nag_self.stack_high;
  if (is_mapped && slot->stack >= location && location >= nag_self.stack_low)
    return *(const uint64_t *)slot->stack != trampoline_of(slot);
  if (!nag_holds(slot->stack, trampoline_of(slot))) return true;
  if (slot->stack >= location || slot->stack < nag_self.stack_low ||
      location >= nag_self.stack_high || is_above_alternate_stack(slot->stack, location))
    return false;
  return nag_orphan_add(slot->stack, trampoline_of(slot), slot->return_address);
}

// Removes the top slot, and calls the tracer for it. Whether its frame has ended without returning.
static bool drop_top(void) {
  nag_slot *last = nag_self.top - 1;
  bool has_ended = last->stack != NAG_STACK_CLOSED;
  const nag_tracer *tracer = nag_config.tracer;
  if (has_ended && tracer->dropped != NULL) tracer->dropped(last);
  last->stack = NAG_STACK_FREE;
  nag_self.top = last;
  return has_ended;
}

static void tell_tracer(uint32_t dropped) {
  if (dropped && nag_config.tracer->unwound != NULL) nag_config.tracer->unwound(dropped);
}

// Removes dead slots from the top, down to `floor`.
static void drop_dead(const nag_slot *floor, uint64_t location) {
  uint32_t dropped = 0;
  while (nag_self.top > floor && is_dead(nag_self.top - 1, location)) dropped += drop_top();
  tell_tracer(dropped);
}

void nag_shadow_end(void) {
  uint32_t dropped = 0;
  uint64_t low = nag_self.stack_low, bytes = nag_self.stack_high - low;
  while (nag_self.top > nag_self.first + 1 && nag_self.top[-1].stack - low < bytes)
    dropped += drop_top();
  // A thread that was cancelled at any instruction may have a slot whose entry was not recorded.
  bool is_all = nag_self.top == nag_self.first + 1;
  tell_tracer(dropped && is_all ? NREC_ALL_OPEN : dropped);
}

nag_slot *nag_shadow_push(uint64_t *location, uint32_t function) {
  if (nag_self.first == NULL && !begin()) return NULL;
  drop_dead(nag_self.first + 1, (uint64_t)location);
  if (nag_self.top == nag_self.end) {
    if (!grow(nag_self.region - 1)) return NULL;
    nag_self.end = (nag_slot *)((uint8_t *)nag_self.end + GROWTH);
  }
  nag_slot *slot = nag_self.top++;
  slot->stack = (uint64_t)location;
  slot->return_address = *location;
  slot->function = function;
  *location = trampoline_of(slot);
  return slot;
}

static bool is_this_threads(const nag_slot *slot) {
  return nag_self.first != NULL && slot > nag_self.first && slot < nag_self.end;
}

void nag_shadow_unwinding(void) {
  if (nag_self.first != NULL) nag_self.unwound = nag_time();
}

bool nag_is_open(const nag_slot *slot) {
  return slot->stack != NAG_STACK_CLOSED && slot->stack != NAG_STACK_FREE;
}

// How many open functions are below a slot.
static uint32_t open_below(const nag_slot *slot) {
  uint32_t count = 0;
  for (const nag_slot *one = nag_self.first + 1; one < slot; one++) count += nag_is_open(one);
  return count;
}

// A coroutine's frame returned on another thread than the one it began on, or a frame returned that
// seemed to be over. Reads the address first, and then checks that the slot was still the frame's
// own.
static uint64_t pop_elsewhere(nag_slot *slot, uint64_t location, nag_returned *how) {
  *how = (nag_returned){.is_unknown = true};
  uint64_t back = __atomic_load_n(&slot->return_address, __ATOMIC_ACQUIRE), expected = location;
  if (!is_this_threads(slot) &&
      __atomic_compare_exchange_n(&slot->stack, &expected, NAG_STACK_ELSEWHERE, false,
                                  __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
    return back;
  return nag_orphan_take(location, trampoline_of(slot));
}

bool nag_shadow_matches(const nag_slot *slot, uint64_t location) {
  return is_this_threads(slot) && slot->stack == location;
}

// A frame returned to its trampoline. The slots above it belong to frames that ended without
// returning, or to frames of another stack that will continue.
uint64_t nag_shadow_pop(nag_slot *slot, uint64_t location, nag_returned *how) {
  if (!nag_shadow_matches(slot, location)) return pop_elsewhere(slot, location, how);
  uint64_t back = slot->return_address;
  drop_dead(slot + 1, location + 8);
  *how = (nag_returned){.is_top = nag_self.top == slot + 1};
  if (how->is_top) {
    slot->stack = NAG_STACK_FREE;
    nag_self.top = slot;
    // Also removes the slots below that were closed out of order while this one was open.
    while (nag_self.top > nag_self.first + 1 && nag_self.top[-1].stack == NAG_STACK_CLOSED)
      (--nag_self.top)->stack = NAG_STACK_FREE;
  } else {
    how->depth = open_below(slot);
    slot->stack = NAG_STACK_CLOSED;
  }
  return back;
}

uint32_t nag_shadow_live_depth(uint64_t location) {
  if (nag_self.first) drop_dead(nag_self.first + 1, location);
  return nag_shadow_depth();
}

nag_slot *nag_shadow_push_running(uint64_t *location, uint32_t function) {
  nag_slot *slot = nag_self.top;
  if (slot < nag_self.end && slot[-1].stack > (uint64_t)location) {
    // This order keeps a signal handler's own calls correct: the slot is taken first, then filled.
    *(nag_slot *volatile *)&nag_self.top = slot + 1;
    *(volatile uint64_t *)&slot->stack = (uint64_t)location;
    slot->function = function;
    slot->return_address = *location;
    *(volatile uint64_t *)location = trampoline_of(slot);
    return slot;
  }
  uint64_t signals = nag_block_signals();
  slot = nag_shadow_push(location, function);
  nag_restore_signals(signals);
  return slot;
}

uint64_t nag_shadow_pop_running(nag_slot *slot, uint64_t location) {
  if (nag_self.top == slot + 1 && slot->stack == location &&
      slot[-1].stack != NAG_STACK_CLOSED) {
    uint64_t back = *(volatile uint64_t *)&slot->return_address;
    *(volatile uint64_t *)location = back;  // for unwinders, before another call takes the slot
    *(volatile uint64_t *)&slot->stack = NAG_STACK_FREE;
    *(nag_slot *volatile *)&nag_self.top = slot;
    return back;
  }
  nag_returned how;
  uint64_t signals = nag_block_signals();
  uint64_t back = nag_shadow_pop(slot, location, &how);
  nag_restore_signals(signals);
  return back;
}
