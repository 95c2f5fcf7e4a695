// SPDX-License-Identifier: Apache-2.0
//
// A module's call sites, as the recorder planned them: stubs near the module, and one transaction that
// makes every wanted site call its stub and every other a nop.

#include "agent.h"
#include "syscalls.h"

enum { STUB_BYTES = 16, HANDLERS = 16, HEAD_BYTES = HANDLERS * 8 };

#define HANDLER(name) \
  extern const char name[] __attribute__((visibility("hidden"))); \
  extern const char name##_filtered[] __attribute__((visibility("hidden")))
HANDLER(nag_graph_entry);
HANDLER(nag_graph_mcount);
HANDLER(nag_graph_entry_only);
HANDLER(nag_graph_kept);
HANDLER(nag_slow_entry);
HANDLER(nag_slow_mcount);
HANDLER(nag_slow_event);
HANDLER(nag_slow_pushed);
HANDLER(nag_slow_function_entry);
HANDLER(nag_slow_function_mcount);
HANDLER(nag_slow_function_pushed);
HANDLER(nag_function_entry);
HANDLER(nag_function_mcount);
HANDLER(nag_function_kept);
HANDLER(nag_hits_entry);
HANDLER(nag_hits_kept);
HANDLER(nag_tree_entry);
HANDLER(nag_tree_mcount);
HANDLER(nag_tree_kept);
HANDLER(nag_profile_entry);
HANDLER(nag_profile_mcount);
HANDLER(nag_profile_only);
HANDLER(nag_profile_kept);
HANDLER(nag_limited_only);
HANDLER(nag_limited_entry);
HANDLER(nag_limited_mcount);
HANDLER(nag_limited_kept);
HANDLER(nag_window_entry);
HANDLER(nag_window_mcount);
HANDLER(nag_window_kept);

// What a site calls, by tracer and by where its function's return address stands (stubs.h).
typedef struct handler_set {
  const char *entry, *mcount, *entry_only, *kept;
} handler_set;

// `by_thread`: with a filter by thread, each handler has a front (thread_filter_entry.S).
#define PICK(name) (by_thread ? name##_filtered : name)
// Without rseq areas the events of the hot path would not be safe from signals: C blocks them.
static handler_set choose_slow(bool by_thread) {
  if (nag_config.config.tracer == NREC_TRACER_FUNCTION)
    return (handler_set){PICK(nag_slow_function_entry), PICK(nag_slow_function_mcount),
                         PICK(nag_slow_function_mcount), PICK(nag_slow_function_pushed)};
  return (handler_set){PICK(nag_slow_entry), PICK(nag_slow_mcount), PICK(nag_slow_event),
                       PICK(nag_slow_pushed)};
}

static handler_set choose(bool opens_window, bool by_thread) {
  uint32_t tracer = nag_config.config.tracer;
  bool is_graph = tracer == NREC_TRACER_GRAPH && !nag_has_call_limits();
  if (nag_rseq == 0 && (is_graph || tracer == NREC_TRACER_FUNCTION)) return choose_slow(by_thread);
  switch (tracer) {
    case NREC_TRACER_HITS:
      return (handler_set){PICK(nag_hits_entry), PICK(nag_hits_entry), PICK(nag_hits_entry),
                           PICK(nag_hits_kept)};
    case NREC_TRACER_FUNCTION:
      return (handler_set){PICK(nag_function_entry), PICK(nag_function_mcount),
                           PICK(nag_function_mcount), PICK(nag_function_kept)};
    case NREC_TRACER_CALLGRAPH:
      return (handler_set){PICK(nag_tree_entry), PICK(nag_tree_mcount), PICK(nag_tree_mcount),
                           PICK(nag_tree_kept)};
    case NREC_TRACER_PROFILE:
      return (handler_set){PICK(nag_profile_entry), PICK(nag_profile_mcount),
                           PICK(nag_profile_only), PICK(nag_profile_kept)};
    default:
      if (is_graph)
        return (handler_set){PICK(nag_graph_entry), PICK(nag_graph_mcount),
                             PICK(nag_graph_entry_only), PICK(nag_graph_kept)};
      if (opens_window)
        return (handler_set){PICK(nag_window_entry), PICK(nag_window_mcount),
                             PICK(nag_limited_only), PICK(nag_window_kept)};
      return (handler_set){PICK(nag_limited_entry), PICK(nag_limited_mcount), PICK(nag_limited_only),
                           PICK(nag_limited_kept)};
  }
}
#undef PICK

enum {
  HANDLER_FLAGS = NREC_SITE_AFTER_PROLOGUE | NREC_SITE_ENTRY_ONLY | NREC_SITE_RUN_OF_NOPS |
                  NREC_SITE_GRAPH,
};
_Static_assert(HANDLER_FLAGS < HANDLERS, "the flags are the index");

// A run of nops is gcc's -fpatchable-function-entry, with its IPA-RA.
static void choose_handlers(const char *handlers[HANDLERS]) {
  bool chooses_threads = nag_config.config.thread_rules > 0;
  for (int i = 0; i < HANDLERS; i++) {
    handler_set set = choose(i & NREC_SITE_GRAPH, chooses_threads);
    handlers[i] = i & NREC_SITE_RUN_OF_NOPS      ? set.kept
                  : i & NREC_SITE_ENTRY_ONLY     ? set.entry_only
                  : i & NREC_SITE_AFTER_PROLOGUE ? set.mcount
                                                 : set.entry;
  }
}

// 41 bb imm32        mov  $function, %r11d          68 imm32     push $function   (a run of nops)
// ff 25 disp32       jmp  *handler(%rip)
static void write_stub(uint8_t *stub, const nrec_plan_entry *entry, const uint8_t *head) {
  uint8_t *at = stub;
  if (entry->flags & NREC_SITE_RUN_OF_NOPS) *at++ = 0x68;
  else *at++ = 0x41, *at++ = 0xbb;
  __builtin_memcpy(at, &entry->function, 4);
  at[4] = 0xff, at[5] = 0x25;
  int32_t distance = (int32_t)(head + (entry->flags & HANDLER_FLAGS) * 8 - (at + 10));
  __builtin_memcpy(at + 6, &distance, 4);
  for (at += 10; at < stub + STUB_BYTES; at++) *at = 0xcc;
}

// The stubs of a module: the handlers' addresses, then one stub for each armed site.
static uint8_t *make_stubs(const npc_module *module, const nrec_plan_entry *plan, uint32_t count,
                           uint32_t armed, size_t *mapped, int32_t *error) {
  size_t bytes = HEAD_BYTES + (size_t)armed * STUB_BYTES;
  *mapped = (bytes + 4095) & ~(size_t)4095;
  uint8_t *head = npc_map_near(module->text_start, module->text_end, bytes);
  *error = ENOMEM;
  if (head == NULL) return NULL;
  choose_handlers((const char **)head);
  uint8_t *stub = head + HEAD_BYTES;
  for (uint32_t i = 0; i < count; i++) {
    if (plan[i].action != NREC_ACTION_ARM) continue;
    write_stub(stub, &plan[i], head);
    stub += STUB_BYTES;
  }
  // Where nothing may become executable, no site may call here.
  int64_t status = NAG_CALL(SYS_mprotect, head, *mapped, PROT_READ | PROT_EXEC);
  if (status == 0) return head;
  *error = (int32_t)-status;
  NAG_CALL(SYS_munmap, head, *mapped);
  return NULL;
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

// The recorder's Capstone has decoded the expected bytes; the transaction compares them with what is
// there. Decoding is a function of bytes and address alone, and the distance to a target inside
// the module is the same at every address. Bytes that no form of call site has are refused all the
// same: e8, ff 15, 67 e8; nops of 5 and 6 bytes; five nops.
static bool decoded_by_the_recorder(void *context, uint8_t kind, uint8_t length, uint64_t target,
                                 uint64_t address, const uint8_t *bytes) {
  (void)context, (void)kind, (void)target, (void)address;
  static const uint8_t nops[5] = {0x90, 0x90, 0x90, 0x90, 0x90}, nop[3] = {0x0f, 0x1f, 0x44};
  if (length == 5)
    return bytes[0] == 0xe8 || __builtin_memcmp(bytes, nop, 3) == 0 ||
           __builtin_memcmp(bytes, nops, 5) == 0;
  return (bytes[0] == 0xff && bytes[1] == 0x15) || (bytes[0] == 0x67 && bytes[1] == 0xe8) ||
         (bytes[0] == 0x66 && __builtin_memcmp(bytes + 1, nop, 3) == 0);
}

uint8_t *nag_sites_module(uint32_t generation, const npc_module *module,
                          const nrec_plan_entry *plan, uint32_t count, int32_t protocol,
                          nrec_applied *applied, size_t *stub_bytes) {
  *applied = (nrec_applied){.message = NREC_MESSAGE_APPLIED, .generation = generation};
  uint32_t armed = 0;
  for (uint32_t i = 0; i < count; i++) armed += plan[i].action == NREC_ACTION_ARM;
  size_t bytes = ((size_t)count * sizeof(npc_poke) + 4095) & ~(size_t)4095;
  npc_poke *pokes = nag_pages(bytes);
  int32_t error = ENOMEM;
  uint8_t *stubs = pokes ? make_stubs(module, plan, count, armed, stub_bytes, &error) : NULL;
  if (stubs == NULL) {
    applied->status = NPC_UNWRITABLE;
    applied->error = error;
    if (pokes != NULL) NAG_CALL(SYS_munmap, pokes, bytes);
    return NULL;
  }
  uint32_t made = make_pokes(pokes, module, plan, count, stubs, applied);
  npc_transaction transaction = {
    .pokes = pokes, .count = made, .load_bias = module->load_bias, .build_id = module->build_id,
    .build_id_length = module->build_id_length, .protocol = protocol,
    .writer = NPC_WRITER_MPROTECT, .verify = decoded_by_the_recorder,
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
