// SPDX-License-Identifier: Apache-2.0
//
// A module's call sites, as the brain planned them: stubs near the module, and one transaction that
// makes every wanted site call its stub and every other a nop.

#include "agent.h"
#include "syscalls.h"

enum { STUB_BYTES = 16, HANDLERS = 8, HEAD_BYTES = HANDLERS * 8 };

#define HANDLER(name) extern const char name[] __attribute__((visibility("hidden")))
HANDLER(nag_graph_entry);
HANDLER(nag_graph_mcount);
HANDLER(nag_graph_entry_only);
HANDLER(nag_function_entry);
HANDLER(nag_function_mcount);
HANDLER(nag_hits_entry);
HANDLER(nag_tree_entry);
HANDLER(nag_tree_mcount);
HANDLER(nag_profile_entry);
HANDLER(nag_profile_mcount);
HANDLER(nag_profile_only);
HANDLER(nag_gated_only);
HANDLER(nag_gated_entry);
HANDLER(nag_gated_mcount);
HANDLER(nag_window_entry);
HANDLER(nag_window_mcount);

// What a site calls, by tracer and by where its function's return address stands.
typedef struct handler_set {
  const char *entry, *mcount, *entry_only;
} handler_set;

static handler_set choose(bool opens_window) {
  switch (nag_config.config.tracer) {
    case NREC_TRACER_HITS:
      return (handler_set){nag_hits_entry, nag_hits_entry, nag_hits_entry};
    case NREC_TRACER_FUNCTION:
      return (handler_set){nag_function_entry, nag_function_mcount, nag_function_mcount};
    case NREC_TRACER_CALLGRAPH:
      return (handler_set){nag_tree_entry, nag_tree_mcount, nag_tree_mcount};
    case NREC_TRACER_PROFILE:
      return (handler_set){nag_profile_entry, nag_profile_mcount, nag_profile_only};
    default:
      if (!nag_is_gated())
        return (handler_set){nag_graph_entry, nag_graph_mcount, nag_graph_entry_only};
      if (opens_window)
        return (handler_set){nag_window_entry, nag_window_mcount, nag_gated_only};
      return (handler_set){nag_gated_entry, nag_gated_mcount, nag_gated_only};
  }
}

// Index: 1 AFTER_PROLOGUE, 2 ENTRY_ONLY, 4 GRAPH.
static void choose_handlers(const char *handlers[HANDLERS]) {
  for (int i = 0; i < HANDLERS; i++) {
    handler_set set = choose(i & 4);
    handlers[i] = i & 2 ? set.entry_only : i & 1 ? set.mcount : set.entry;
  }
}

static int handler_index(const nrec_plan_entry *entry) {
  return (entry->flags & (NREC_SITE_AFTER_PROLOGUE | NREC_SITE_ENTRY_ONLY)) |
         (entry->flags & NREC_SITE_GRAPH ? 4 : 0);
}

// 41 bb imm32        mov  $function, %r11d
// ff 25 disp32       jmp  *handler(%rip)
static void write_stub(uint8_t *stub, const nrec_plan_entry *entry, const uint8_t *head) {
  stub[0] = 0x41, stub[1] = 0xbb;
  __builtin_memcpy(stub + 2, &entry->function, 4);
  stub[6] = 0xff, stub[7] = 0x25;
  int32_t distance = (int32_t)(head + handler_index(entry) * 8 - (stub + 12));
  __builtin_memcpy(stub + 8, &distance, 4);
  stub[12] = stub[13] = stub[14] = stub[15] = 0xcc;
}

// The stubs of a module: the handlers' addresses, then one stub for each armed site.
static uint8_t *make_stubs(const npc_module *module, const nrec_plan_entry *plan, uint32_t count,
                           uint32_t armed, size_t *mapped) {
  size_t bytes = HEAD_BYTES + (size_t)armed * STUB_BYTES;
  *mapped = (bytes + 4095) & ~(size_t)4095;
  uint8_t *head = npc_map_near(module->text_start, module->text_end, bytes);
  if (head == NULL) return NULL;
  choose_handlers((const char **)head);
  uint8_t *stub = head + HEAD_BYTES;
  for (uint32_t i = 0; i < count; i++) {
    if (plan[i].action != NREC_ACTION_ARM) continue;
    write_stub(stub, &plan[i], head);
    stub += STUB_BYTES;
  }
  NAG_CALL(SYS_mprotect, head, *mapped, PROT_READ | PROT_EXEC);
  return head;
}

static void make_call(npc_poke *poke, const uint8_t *stub) {
  uint8_t *at = poke->replacement;
  if (poke->length == 6) *at++ = 0x67;
  *at++ = 0xe8;
  int32_t distance = (int32_t)((int64_t)(uint64_t)stub - (int64_t)(poke->address + poke->length));
  __builtin_memcpy(at, &distance, 4);
}

static void make_nop(npc_poke *poke) {
  static const uint8_t nop5[] = {0x0f, 0x1f, 0x44, 0, 0}, nop6[] = {0x66, 0x0f, 0x1f, 0x44, 0, 0};
  if (poke->length == 5) __builtin_memcpy(poke->replacement, nop5, 5);
  else __builtin_memcpy(poke->replacement, nop6, 6);
}

static uint32_t make_pokes(npc_poke *pokes, const npc_module *module, const nrec_plan_entry *plan,
                           uint32_t count, const uint8_t *stubs, nrec_applied *applied) {
  uint32_t made = 0;
  const uint8_t *stub = stubs + HEAD_BYTES;
  for (uint32_t i = 0; i < count; i++) {
    const nrec_plan_entry *entry = &plan[i];
    if (entry->action != NREC_ACTION_ARM && entry->action != NREC_ACTION_NOP) continue;
    npc_poke *poke = &pokes[made++];
    *poke = (npc_poke){.address = module->load_bias + entry->offset, .length = entry->length};
    __builtin_memcpy(poke->expected, entry->expected, NPC_SITE_BYTES);
    if (entry->flags & NREC_SITE_RUN_OF_NOPS) poke->flags = NPC_POKE_RUN_OF_NOPS;
    if (entry->action == NREC_ACTION_ARM) {
      make_call(poke, stub);
      stub += STUB_BYTES;
      applied->armed++;
    } else {
      make_nop(poke);
      applied->nopped++;
    }
  }
  return made;
}

// The brain's Capstone has decoded the expected bytes; the transaction compares them with what is
// there. Decoding is a function of bytes and address alone, and the distance to a target inside
// the module is the same at every address.
static bool decoded_by_the_brain(void *context, uint8_t kind, uint8_t length, uint64_t target,
                                 uint64_t address, const uint8_t *bytes) {
  (void)context, (void)kind, (void)length, (void)target, (void)address, (void)bytes;
  return true;
}

uint8_t *nag_sites_module(uint32_t generation, const npc_module *module,
                          const nrec_plan_entry *plan, uint32_t count, int32_t protocol,
                          nrec_applied *applied, size_t *stub_bytes) {
  *applied = (nrec_applied){.message = NREC_MESSAGE_APPLIED, .generation = generation};
  uint32_t armed = 0;
  for (uint32_t i = 0; i < count; i++) armed += plan[i].action == NREC_ACTION_ARM;
  size_t bytes = ((size_t)count * sizeof(npc_poke) + 4095) & ~(size_t)4095;
  npc_poke *pokes = nag_pages(bytes);
  uint8_t *stubs = pokes ? make_stubs(module, plan, count, armed, stub_bytes) : NULL;
  if (stubs == NULL) {
    applied->status = NPC_UNWRITABLE;
    applied->error = ENOMEM;
    if (pokes != NULL) NAG_CALL(SYS_munmap, pokes, bytes);
    return NULL;
  }
  uint32_t made = make_pokes(pokes, module, plan, count, stubs, applied);
  npc_transaction transaction = {
    .pokes = pokes, .count = made, .load_bias = module->load_bias, .build_id = module->build_id,
    .build_id_length = module->build_id_length, .protocol = protocol,
    .writer = NPC_WRITER_MPROTECT, .verify = decoded_by_the_brain,
  };
  npc_result result;
  bool done = npc_transaction_execute(&transaction, &result);
  if (!done && result.status == NPC_UNWRITABLE) {
    transaction.writer = NPC_WRITER_PROC_MEM;
    done = npc_transaction_execute(&transaction, &result);
  }
  if (!done) {
    applied->armed = applied->nopped = 0;
    applied->status = result.status;
    applied->error = result.error;
    if (result.has_index && result.index < made)
      applied->offset = pokes[result.index].address - module->load_bias;
  }
  NAG_CALL(SYS_munmap, pokes, bytes);
  return stubs;
}
