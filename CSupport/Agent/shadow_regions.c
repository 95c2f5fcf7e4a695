// SPDX-License-Identifier: Apache-2.0
//
// The memory of the shadow stack. Each slot has its own trampoline: a return to it comes from the
// frame of that slot, whatever exceptions, longjmp or stack switches happened in between. All
// trampolines are in one reserved address range, and every slot is NAG_SHADOW_DISTANCE above its
// trampoline, so that one unwind rule serves them all (CSupport/Trampolines).
//
//   range   | trampolines of region 0 | of region 1 | …   (the same code everywhere)
//   + 2 GiB | slots of region 0       | of region 1 | …
//
// A region belongs to one thread: one to the thread's own stack, others to its coroutines, which share
// them in small blocks. What was mapped once stays mapped, for the next thread.

#include "agent.h"
#include "shadow_stack.h"
#include "syscalls.h"

enum {
  REGION_BYTES = 1 << 20,                             // 32,767 frames
  REGIONS = NAG_SHADOW_DISTANCE / REGION_BYTES,       // 2,032
  GROWTH = 1 << 16,
  SMALL_BYTES = NAG_SMALL_SLOTS * NAG_SLOT_BYTES,
  NODE_BYTES = 64,
  PAGE_BYTES = 4096,
};

_Static_assert(sizeof(nag_stack) <= NODE_BYTES && sizeof(nag_segment) <= NODE_BYTES &&
               sizeof(nag_block) <= NODE_BYTES, "a node has room for any");

static uint8_t *range;                    // of trampolines; NULL: returns are not hooked
static _Atomic uint32_t used_regions[REGIONS / 32 + 1];  // a bit each
static uint32_t mapped[REGIONS];          // bytes of each region that are mapped
static nag_tls *owners[REGIONS];          // the thread that has it


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

// Of an earlier recording, with another tracer. No frame returns to them.
static bool write_again(uint32_t region) {
  uint8_t *code = range + (uint64_t)region * REGION_BYTES;
  if (NAG_CALL(SYS_mprotect, code, mapped[region], PROT_READ | PROT_WRITE) != 0) return false;
  write_trampolines(code, mapped[region]);
  return NAG_CALL(SYS_mprotect, code, mapped[region], PROT_READ | PROT_EXEC) == 0;
}

bool nag_regions_prepare(nag_unwinding *unwinding) {
  bool is_there = range != NULL;
  if (!is_there) range = nag_trampolines_find(unwinding);
  for (uint32_t i = 0; is_there && i < REGIONS; i++)
    if (mapped[i] != 0 && owners[i] == NULL && !write_again(i)) return false;
  return range != NULL;
}

npc_code_range nag_trampolines_range(void) {
  return (npc_code_range){(uint64_t)range, (uint64_t)range + (range == NULL ? 0 : NAG_SHADOW_DISTANCE)};
}

static uint8_t *slots_of(uint32_t region) {
  return range + (uint64_t)region * REGION_BYTES + NAG_SHADOW_DISTANCE;
}

// Maps the next part of a region: its trampolines, then its slots, all free.
static bool grow(uint32_t region) {
  uint32_t have = mapped[region];
  if (have == REGION_BYTES || nag_is_confined) return false;
  uint8_t *data = slots_of(region) + have, *code = data - NAG_SHADOW_DISTANCE;
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

static void give_back(uint32_t region) {
  owners[region] = NULL;
  atomic_fetch_and(&used_regions[region / 32], ~(1u << region % 32));
}

// One plus its number; 0: there is none.
static uint32_t take_region(void) {
  for (uint32_t word = 0; range != NULL && word < REGIONS / 32; word++) {
    uint32_t seen = used_regions[word];
    while (seen != ~0u) {
      uint32_t bit = (uint32_t)__builtin_ctz(~seen), region = word * 32 + bit;
      if (!atomic_compare_exchange_weak(&used_regions[word], &seen, seen | 1u << bit)) continue;
      owners[region] = &nag_self;
      if (mapped[region] != 0 || grow(region)) return region + 1;
      give_back(region);
      return 0;
    }
  }
  return 0;
}

// A region grows only in the hands of who has taken it: one that another thread has is left to it.
void nag_regions_reserve(uint32_t count) {
  bool can_grow = true;
  for (uint32_t i = 0; range != NULL && can_grow && i < count && i < REGIONS; i++) {
    const uint32_t bit = 1u << i % 32;
    if (atomic_fetch_or(&used_regions[i / 32], bit) & bit) continue;
    can_grow = mapped[i] != 0 || grow(i);
    give_back(i);
  }
}

bool nag_is_this_threads(const nag_slot *slot) {
  uint64_t offset = (uint64_t)slot - NAG_SHADOW_DISTANCE - (uint64_t)range;
  return range != NULL && offset < NAG_SHADOW_DISTANCE && owners[offset / REGION_BYTES] == &nag_self;
}

void nag_regions_release(const nag_tls *self, bool keeps) {
  for (uint32_t i = 0; !keeps && i < REGIONS; i++)
    if (owners[i] == self) give_back(i);
}

// --- blocks -------------------------------------------------------------------------------------

static nag_block *take_large(nag_stacks *all) {
  nag_block *block = nag_node_take(all);
  uint32_t region = block == NULL ? 0 : take_region();
  if (region == 0) {
    if (block != NULL) nag_node_release(all, block);
    return NULL;
  }
  *block = (nag_block){.slots = (nag_slot *)slots_of(region - 1), .region = region - 1,
                       .count = mapped[region - 1] / NAG_SLOT_BYTES, .users = 1};
  return block;
}

static nag_block *take_small(nag_stacks *all) {
  nag_block *block = all->free_blocks;
  if (block != NULL) {
    all->free_blocks = block->next;
    block->users = 1;
    return block;
  }
  if (all->small_region == 0 || all->small_used == REGION_BYTES / SMALL_BYTES) {
    all->small_region = take_region();
    all->small_used = 0;
  }
  if (all->small_region == 0) return NULL;
  uint32_t region = all->small_region - 1, start = all->small_used * SMALL_BYTES;
  if (start == mapped[region] && !grow(region)) {
    all->small_used = REGION_BYTES / SMALL_BYTES;  // the next one comes from another region
    return NULL;
  }
  block = nag_node_take(all);
  if (block == NULL) return NULL;
  all->small_used++;
  *block = (nag_block){.slots = (nag_slot *)(slots_of(region) + start), .count = NAG_SMALL_SLOTS,
                       .users = 1, .region = NAG_SMALL};
  return block;
}

nag_block *nag_block_take(nag_stacks *all, bool is_large) {
  return is_large ? take_large(all) : take_small(all);
}

bool nag_block_grow(nag_block *block) {
  if (block->region == NAG_SMALL || !grow(block->region)) return false;
  block->count = mapped[block->region] / NAG_SLOT_BYTES;
  return true;
}

void nag_block_release(nag_stacks *all, nag_block *block) {
  if (--block->users > 0) return;
  block->slots[0].stack = NAG_STACK_FREE;
  if (block->region == NAG_SMALL) {
    block->next = all->free_blocks;
    all->free_blocks = block;
  } else {
    give_back(block->region);
    nag_node_release(all, block);
  }
}

// --- nodes --------------------------------------------------------------------------------------

typedef struct node {
  struct node *next;
} node;

static bool add_nodes(nag_stacks *all) {
  uint8_t *page = nag_pages(PAGE_BYTES);
  if (page == NULL) return false;
  ((node *)page)->next = all->pages;
  all->pages = page;
  for (uint32_t at = NODE_BYTES; at < PAGE_BYTES; at += NODE_BYTES)
    nag_node_release(all, page + at);
  return true;
}

void *nag_node_take(nag_stacks *all) {
  if (all->free_nodes == NULL && !add_nodes(all)) return NULL;
  node *taken = all->free_nodes;
  all->free_nodes = taken->next;
  __builtin_memset(taken, 0, NODE_BYTES);
  return taken;
}

void nag_node_release(nag_stacks *all, void *one) {
  ((node *)one)->next = all->free_nodes;
  all->free_nodes = one;
}

void nag_nodes_release(nag_stacks *all) {
  for (node *page = all->pages, *next; page != NULL; page = next) {
    next = page->next;
    nag_unmap(page, PAGE_BYTES);
  }
  all->pages = all->free_nodes = NULL;
}
