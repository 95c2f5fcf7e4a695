// SPDX-License-Identifier: Apache-2.0
//
// Patches a module's call sites as the recorder planned it: makes stubs near the module, and
// executes one transaction in which every wanted site becomes a call of its stub and every other
// site a nop.

#include "agent.h"
#include "syscalls.h"

// A module's stubs, in one mapping:
//
//   block          | the handlers' addresses    | read-only, so that only an anomaly changes them
//   + HEAD_BYTES   | stub | stub | stub | ...    | read and executed
enum { STUB_BYTES = 16, HANDLERS = 4 * NAG_HANDLERS, HEAD_BYTES = NREC_PAGE };
_Static_assert(HANDLERS * sizeof(char *) <= HEAD_BYTES, "the addresses fit into their page");

enum {
  HANDLER_FLAGS = NREC_SITE_AFTER_PROLOGUE | NREC_SITE_ENTRY_ONLY | NREC_SITE_GRAPH,
  ENTRY_FLAGS = HANDLER_FLAGS | NREC_SITE_START | NREC_SITE_STOP,
};
_Static_assert(HANDLER_FLAGS < NAG_HANDLERS && ENTRY_FLAGS < HANDLERS, "the flags are the index");
_Static_assert(sizeof((nrec_plan_entry *)0)->expected == NPC_SITE_BYTES &&
                   sizeof((nrec_applied *)0)->actual == NPC_SITE_BYTES,
               "plans and reports have as many bytes of a site as the patch core");

// Chooses the handler of a site, by the site's flags.
static void choose_handlers(const char *handlers[NAG_HANDLERS], const nag_tracer *tracer) {
  bool chooses_threads = nag_config.config.thread_rules > 0;
  for (int i = 0; i < NAG_HANDLERS; i++) {
    const nag_tracer *row = i & NREC_SITE_GRAPH ? nag_tracer_at_graph_sites(tracer) : tracer;
    const nag_handlers *set = chooses_threads ? &row->filtered : &row->handlers;
    const bool is_entry_only = i & NREC_SITE_ENTRY_ONLY;
    if (i & NREC_SITE_AFTER_PROLOGUE) handlers[i] = is_entry_only ? set->mcount_only : set->mcount;
    else handlers[i] = is_entry_only ? set->entry_only : set->entry;
  }
}

// Chooses what a site calls: its handler, or the gate before it.
static void choose_entries(const char *entries[HANDLERS], const nag_tracer *tracer) {
  const char *handlers[NAG_HANDLERS];
  choose_handlers(handlers, tracer);
  bool is_gated = nag_config.config.is_gated && tracer != nag_tracer_off();
  for (int i = 0; i < NAG_HANDLERS; i++) {
    if (is_gated) nag_gate_handlers[i] = handlers[i];
    for (int marks = 0; marks < HANDLERS / NAG_HANDLERS; marks++) {
      const char *entry = is_gated ? nag_gate_entries[marks][i] : handlers[i];
      __atomic_store_n(&entries[marks * NAG_HANDLERS + i], entry, __ATOMIC_RELEASE);
    }
  }
}

// 41 53              push %r11
// 41 bb imm32        mov  $function, %r11d
// ff 25 disp32       jmp  *handler(%rip)
static void write_stub(uint8_t *stub, const nrec_plan_entry *entry, const uint8_t *head) {
  static const uint8_t text[STUB_BYTES] = {0x41, 0x53, 0x41, 0xbb, 0, 0,    0,    0,
                                           0xff, 0x25, 0,    0,    0, 0,    0xcc, 0xcc};
  enum { FUNCTION_AT = 4, DISTANCE_AT = 10, END = 14 };
  int32_t distance = (int32_t)(head + (entry->flags & ENTRY_FLAGS) * 8 - (stub + END));
  __builtin_memcpy(stub, text, STUB_BYTES);
  __builtin_memcpy(stub + FUNCTION_AT, &entry->function, 4);
  __builtin_memcpy(stub + DISTANCE_AT, &distance, 4);
}

// Makes the stubs of a module, one for each armed site.
static uint8_t *make_stubs(const npc_module *module, const nrec_plan_entry *plan, uint32_t count,
                           uint32_t armed, size_t *mapped, int32_t *error) {
  size_t bytes = HEAD_BYTES + (size_t)armed * STUB_BYTES;
  *mapped = nag_whole_pages(bytes);
  uint8_t *head = npc_map_near(module->text_start, module->text_end, bytes);
  *error = ENOMEM;
  if (head == NULL) return NULL;
  choose_entries((const char **)head, nag_config.tracer);
  uint8_t *stub = head + HEAD_BYTES;
  for (uint32_t i = 0; i < count; i++) {
    if (plan[i].action != NREC_ACTION_ARM) continue;
    write_stub(stub, &plan[i], head);
    stub += STUB_BYTES;
  }
  // Where the system forbids new executable pages, no site may call the stubs.
  int64_t status = NAG_CALL(SYS_mprotect, head + HEAD_BYTES, *mapped - HEAD_BYTES,
                            PROT_READ | PROT_EXEC);
  if (status == 0) status = NAG_CALL(SYS_mprotect, head, HEAD_BYTES, PROT_READ);
  if (status == 0) return head;
  *error = (int32_t)-status;
  nag_unmap(head, *mapped);
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

// The recorder's Capstone has decoded the expected bytes, and the transaction compares them with
// the bytes in memory. That is enough, because decoding depends only on the bytes and the address,
// and the distance to a target inside the module is the same at every address. Still, bytes that
// are no form of a call site are refused. The forms: e8, ff 15, 67 e8; nops of 5 and 6 bytes; five
// nops.
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

// Fills the full report: what went wrong, in which phase, at which site, which bytes were expected
// there and which were found.
static void describe_failure(nrec_applied *applied, const npc_result *result,
                             const npc_transaction *transaction) {
  applied->status = result->status;
  applied->phase = result->phase;
  applied->error = result->error;
  applied->left_changed = result->left_changed;
  if (!result->has_index || result->index >= transaction->count) return;
  const npc_poke *poke = &transaction->pokes[result->index];
  applied->offset = poke->address - transaction->load_bias;
  applied->length = poke->length;
  __builtin_memcpy(applied->expected, poke->expected, sizeof applied->expected);
  applied->has_actual = result->has_actual;
  if (result->has_actual)
    __builtin_memcpy(applied->actual, result->actual, sizeof applied->actual);
}

// Executes a transaction of these pokes, by mprotect or, where that is refused, by /proc/self/mem.
static bool execute(const npc_module *module, const npc_poke *pokes, uint32_t count,
                    int32_t protocol, nrec_applied *applied) {
  npc_transaction transaction = {
    .pokes = pokes, .count = count, .load_bias = module->load_bias, .build_id = module->build_id,
    .build_id_length = module->build_id_length, .protocol = protocol,
    .writer = NPC_WRITER_MPROTECT, .verify = decoded_by_the_recorder,
  };
  npc_result result;
  bool done = npc_transaction_execute(&transaction, &result);
  if (!done && result.status == NPC_UNWRITABLE) {
    transaction.writer = NPC_WRITER_PROC_MEM;
    done = npc_transaction_execute(&transaction, &result);
  }
  if (!done) describe_failure(applied, &result, &transaction);
  return done;
}

uint8_t *nag_sites_module(uint32_t generation, const npc_module *module,
                          const nrec_plan_entry *plan, uint32_t count, int32_t protocol,
                          nrec_applied *applied, size_t *stub_bytes) {
  *applied = (nrec_applied){.message = NREC_MESSAGE_APPLIED, .generation = generation};
  uint32_t armed = 0;
  for (uint32_t i = 0; i < count; i++) armed += plan[i].action == NREC_ACTION_ARM;
  size_t bytes = nag_whole_pages((size_t)count * sizeof(npc_poke));
  npc_poke *pokes = nag_pages(bytes);
  int32_t error = ENOMEM;
  uint8_t *stubs = pokes ? make_stubs(module, plan, count, armed, stub_bytes, &error) : NULL;
  if (stubs == NULL) {
    applied->status = NPC_UNWRITABLE;
    applied->error = error;
    if (pokes != NULL) nag_unmap(pokes, bytes);
    return NULL;
  }
  uint32_t made = make_pokes(pokes, module, plan, count, stubs, applied);
  if (!execute(module, pokes, made, protocol, applied)) applied->armed = applied->nopped = 0;
  nag_unmap(pokes, bytes);
  return stubs;
}

// The other way round: what was written is expected.
static void turn_round(npc_poke *poke) {
  uint8_t written[NPC_SITE_BYTES];
  __builtin_memcpy(written, poke->replacement, sizeof written);
  __builtin_memcpy(poke->replacement, poke->expected, sizeof written);
  __builtin_memcpy(poke->expected, written, sizeof written);
  poke->flags = 0;  // what was written is one instruction
}

uint32_t nag_sites_restore(const npc_module *module, const nrec_plan_entry *plan, uint32_t count,
                           const uint8_t *stubs, nrec_applied *applied) {
  *applied = (nrec_applied){.status = NPC_UNWRITABLE, .error = ENOMEM};
  size_t bytes = nag_whole_pages((size_t)count * sizeof(npc_poke));
  npc_poke *pokes = nag_pages(bytes);
  if (pokes == NULL) return 0;
  nrec_applied ignored = {0};
  uint32_t made = make_pokes(pokes, module, plan, count, stubs, &ignored);
  for (uint32_t i = 0; i < made; i++) turn_round(&pokes[i]);
  applied->status = NPC_OK;
  bool done = execute(module, pokes, made, NPC_PROTOCOL_AUTOMATIC, applied);
  nag_unmap(pokes, bytes);
  return done ? made : 0;
}

// Exchanges the handlers' addresses for those of the handlers that return at once. Each address is
// one aligned store, so a thread in a stub reads either the old address or the new one. It asks the
// kernel for nothing but a writable page of data, which a program that may start threads is allowed.
// Where even that is refused, the handlers keep running. Their slow paths record nothing then
// (nag_thread_buffer): a thread writes no event once its chunk is full. Counters that a thread has
// already (of hits, profile and callgraph) go on counting.
void nag_sites_turn_off(uint8_t *stubs) {
  if (NAG_CALL(SYS_mprotect, stubs, HEAD_BYTES, PROT_READ | PROT_WRITE) != 0) return;
  choose_entries((const char **)stubs, nag_tracer_off());
  NAG_CALL(SYS_mprotect, stubs, HEAD_BYTES, PROT_READ);
}
