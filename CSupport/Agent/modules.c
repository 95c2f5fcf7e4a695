// SPDX-License-Identifier: Apache-2.0
//
// Which modules are loaded, by generation. At the start the agent shows all of them to the
// recorder; later the loader's hook tells of those that come, before their first instruction runs,
// and of those that have gone, while nobody can patch.
//
// The table has the loader's own order: a module that comes is put at the end of both, so the next
// one listed is found behind the last one found, and a look costs as much as the list is long.
//
// A deviation ends all this: where a module's text is not what its file says, a plan is none, or
// what was written cannot be read back, nobody knows what else is wrong. The recorder gets the full
// report, the recording is marked, armed sites record nothing any more, and nothing is patched
// again.

#include <sys/auxv.h>
#include <sys/single_threaded.h>

#include "agent.h"
#include "syscalls.h"

typedef struct known_module {
  uint64_t load_bias, span_start, span_end;
  uint64_t build;        ///< a hash of its build-id
  uint32_t generation;
  bool seen;
  bool is_overlaid;      ///< another stands at its place, and nobody told that it went
  uint64_t mark;         ///< where the first armed site is; 0: none is
  uint8_t marked[8];     ///< and what was written there, of `mark_length` bytes
  uint8_t mark_length;
  uint8_t *stubs;        ///< what its sites call; NULL: none is armed
  size_t stub_bytes;
} known_module;

static known_module *known;     // copied by a fork as it is
static uint32_t known_count, known_capacity, last_generation;
static uint32_t cursor;         // where the next one listed is looked for
static uint64_t last_adds, last_subs;  // the loader's counts at the last look

static uint64_t hash(const uint8_t *bytes, uint32_t length) {
  uint64_t hash = 0xcbf29ce484222325;
  for (uint32_t i = 0; i < length; i++) hash = (hash ^ bytes[i]) * 0x100000001b3;
  return hash;
}

// Where its headers cannot be read any more, somebody has unmapped part of it: it has its place.
static bool is_at(const known_module *one, const npc_module *module) {
  if (one->load_bias != module->load_bias) return false;
  return module->span_end == 0 ||
         (one->span_start == module->span_start && one->span_end == module->span_end);
}

static known_module *find(const npc_module *module) {
  for (uint32_t i = 0; i < known_count; i++) {
    uint32_t at = cursor + i < known_count ? cursor + i : cursor + i - known_count;
    if (known[at].is_overlaid || !is_at(&known[at], module)) continue;
    cursor = at + 1 < known_count ? at + 1 : 0;
    return &known[at];
  }
  return NULL;
}

static bool make_room(void) {
  if (known_count < known_capacity) return true;
  size_t old = known_capacity * sizeof *known, wide = old ? 2 * old : 256 * sizeof *known;
  void *memory = nag_pages(wide);
  if (memory == NULL) return false;
  nag_copy(memory, known, known_count * sizeof *known);
  if (known != NULL) NAG_CALL(SYS_munmap, known, old);
  known = memory;
  known_capacity = (uint32_t)(wide / sizeof *known);
  return true;
}

static known_module *add(const npc_module *module) {
  if (!make_room()) return NULL;
  known[known_count] = (known_module){
    .load_bias = module->load_bias, .span_start = module->span_start,
    .span_end = module->span_end, .generation = ++last_generation,
    .build = hash(module->build_id, module->build_id_length), .seen = true,
  };
  return &known[known_count++];
}

// A module as it is shown to the recorder. The copy outlives the visit; what it points to lives as
// long as the module.
typedef struct shown_module {
  npc_module module;
  uint32_t place;       ///< in `known`
  bool may_run;         ///< its code is not known to be still untouched
  nrec_module_message message;
} shown_module;

static uint32_t fill_path(nrec_module_message *message, const char *name) {
  if (name == NULL || name[0] == 0) {  // the program
    int64_t linked = NAG_CALL(SYS_readlink, "/proc/self/exe", message->path,
                              sizeof message->path - 1);
    if (linked > 0) return (uint32_t)linked;
    name = (const char *)getauxval(AT_EXECFN);  // where /proc is not mounted
    if (name == NULL) return 0;
  }
  uint32_t length = 0;
  while (name[length] && length < sizeof message->path - 1) length++;
  nag_copy(message->path, name, length);
  return length;
}

typedef struct visit_context {
  shown_module *shown;
  uint32_t count, capacity;
  uint64_t adds, subs;
  size_t listed;         ///< so many were looked at
  size_t run_before;     ///< the code of those before this place may run
} visit_context;

static bool is_agent(const npc_module *module) {
  uint64_t here = (uint64_t)&nag_config;
  return here >= module->span_start && here < module->span_end;
}

static bool is_vdso(const npc_module *module) {
  static const char vdso[] = "linux-vdso";
  for (size_t i = 0; i < sizeof vdso - 1; i++)
    if (module->name == NULL || module->name[i] != vdso[i]) return false;
  return true;
}

static bool is_marked(const known_module *one) {
  uint8_t bytes[sizeof one->marked];
  if (one->mark == 0) return true;
  if (!npc_read_memory(bytes, (const void *)one->mark, one->mark_length)) return false;
  for (uint8_t i = 0; i < one->mark_length; i++)
    if (bytes[i] != one->marked[i]) return false;
  return true;
}

// Notes which of the known modules are still there. Their places tell, because every unload is
// announced; their text would not, because anybody may have changed it. The loader's count tells of
// unloads that nobody announced (a debugger's breakpoint stood on the hook): where modules have
// both come and gone since the last look, another generation may stand at the same place, and then
// its text is its file's.
static bool note_seen(const npc_module *module, void *context) {
  visit_context *c = context;
  c->adds = module->adds, c->subs = module->subs;
  known_module *entry = find(module);
  if (entry == NULL) return false;
  bool is_doubtful = module->adds != last_adds && module->subs != last_subs;
  uint64_t build = hash(module->build_id, module->build_id_length);
  entry->is_overlaid = is_doubtful && (entry->build != build || !is_marked(entry));
  entry->seen = !entry->is_overlaid;
  return false;
}

static void describe(shown_module *shown, const npc_module *module, uint32_t generation) {
  shown->module = *module;
  nrec_module_message *message = &shown->message;
  message->message = NREC_MESSAGE_MODULE;
  message->generation = generation;
  message->load_bias = module->load_bias;
  message->text_start = module->text_start;
  message->text_end = module->text_end;
  message->time = nag_time();
  message->build_id_length =
      module->build_id_length <= sizeof message->build_id ? module->build_id_length : 0;
  nag_copy(message->build_id, module->build_id, message->build_id_length);
  message->path_length = fill_path(message, module->name);
}

// The new ones, as many as there is room for.
static bool collect(const npc_module *module, void *context) {
  visit_context *c = context;
  bool may_run = c->listed++ < c->run_before;
  if (is_agent(module) || is_vdso(module) || module->text_end == 0 || find(module)) return false;
  if (c->count == c->capacity) return true;
  known_module *entry = add(module);
  if (entry == NULL) return false;  // no memory: it is left alone
  shown_module *shown = &c->shown[c->count++];
  shown->place = known_count - 1;
  shown->may_run = may_run;
  describe(shown, module, entry->generation);
  return false;
}

// What tells this generation from the next one of the same build at the same place.
static void set_mark(known_module *entry, const nrec_plan_entry *plan, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    if (plan[i].action != NREC_ACTION_ARM) continue;
    uint64_t at = entry->load_bias + plan[i].offset;
    if (!npc_read_memory(entry->marked, (const void *)at, plan[i].length)) return;
    entry->mark_length = plan[i].length;
    entry->mark = at;
    return;
  }
}

// The lengths and numbers that the agent counts by. The transaction compares the rest.
static bool is_sound(const nrec_plan_message *plan, const nrec_plan_entry *entries) {
  for (uint32_t i = 0; i < plan->count; i++) {
    const nrec_plan_entry *entry = &entries[i];
    bool sized = entry->length == 5 || entry->length == NPC_SITE_BYTES;
    if (!sized || entry->function - plan->first_function >= plan->count) return false;
  }
  return true;
}

// Whether a plan's failure is a deviation. The other failures have an explanation: the system
// refuses something, or no protocol serves a site of code that may run.
static bool is_anomaly(const nrec_applied *applied) {
  switch (applied->status) {
    case NPC_OUTSIDE_TEXT:
    case NPC_BAD_POKE:
    case NPC_MISMATCH:
    case NPC_UNCONFIRMED:
    case NPC_READ_BACK:
      return true;
    default:
      return applied->left_changed || applied->phase == NPC_PHASE_READ_BACK;
  }
}

static void turn_off(void) {
  nag_mark_corrupted();
  nag_config.is_off = true;
  for (uint32_t i = 0; i < known_count; i++)
    if (known[i].stubs != NULL) nag_sites_turn_off(known[i].stubs);
}

// A plan's entries, mapped; NULL, with the status, where it is not sound or there is no memory. A
// plan that could change or shrink after this is not sound.
static const nrec_plan_entry *map_plan(const nrec_plan_message *plan, int descriptor,
                                       nrec_applied *applied) {
  size_t bytes = (size_t)plan->count * sizeof(nrec_plan_entry);
  applied->status = NPC_BAD_POKE;
  if (!nag_is_sealed(descriptor) || nag_file_bytes(descriptor) < bytes) return NULL;
  const nrec_plan_entry *entries = nag_mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (entries == NULL) applied->status = NPC_UNWRITABLE, applied->error = ENOMEM;
  if (entries == NULL || is_sound(plan, entries)) return entries;
  NAG_CALL(SYS_munmap, entries, bytes);
  return NULL;
}

static void patch(shown_module *shown, const nrec_plan_message *plan,
                  const nrec_plan_entry *entries, nrec_applied *applied) {
  // Where threads may run the code, the one protocol that takes no signal.
  int32_t protocol = shown->may_run ? NPC_PROTOCOL_JUMP_GUARD : NPC_PROTOCOL_NONE;
  size_t stub_bytes;
  uint8_t *stubs = nag_sites_module(plan->generation, &shown->module, entries, plan->count,
                                    protocol, applied, &stub_bytes);
  if (shown->may_run && applied->status == NPC_UNSUITABLE) applied->status = NPC_RUNS_ALREADY;
  known_module *entry = &known[shown->place];
  entry->stubs = stubs, entry->stub_bytes = stub_bytes;
  if (applied->status == NPC_OK) set_mark(entry, entries, plan->count);
}

static void apply(shown_module *shown, const nrec_plan_message *plan, int descriptor) {
  if (plan->count == 0 || descriptor < 0) return;
  nrec_applied applied = {.message = NREC_MESSAGE_APPLIED, .generation = plan->generation};
  const nrec_plan_entry *entries = map_plan(plan, descriptor, &applied);
  if (entries != NULL) {
    patch(shown, plan, entries, &applied);
    NAG_CALL(SYS_munmap, entries, (size_t)plan->count * sizeof(nrec_plan_entry));
  }
  applied.is_off = is_anomaly(&applied);
  if (applied.is_off) turn_off();
  nag_send(&applied, sizeof applied);
}

// The answer to a module. Answers to earlier ones that came too late are passed over.
static bool receive_plan(uint32_t generation, nrec_plan_message *plan, int *descriptor) {
  while (true) {
    int64_t length = nag_receive(plan, sizeof *plan, descriptor, 1);
    bool is_plan = length == (int64_t)sizeof *plan && plan->message == NREC_MESSAGE_PLAN;
    if (is_plan && plan->generation == generation) return true;
    if (*descriptor >= 0) NAG_CALL(SYS_close, *descriptor);
    if (!is_plan || plan->generation > generation) return false;
  }
}

// All questions first, then the answers: one wait for the whole start.
static void show(shown_module *shown, uint32_t count) {
  const size_t fixed = offsetof(nrec_module_message, path);
  uint32_t sent = 0;
  while (sent < count && nag_send(&shown[sent].message, fixed + shown[sent].message.path_length))
    sent++;
  for (uint32_t i = 0; i < sent; i++) {
    nrec_plan_message plan;
    int descriptor;
    if (!receive_plan(shown[i].message.generation, &plan, &descriptor)) return;
    if (!nag_config.is_off) apply(&shown[i], &plan, descriptor);
    if (descriptor >= 0) NAG_CALL(SYS_close, descriptor);
  }
}

// Takes modules that have gone out of the table, and unmaps their stubs. No thread is in a stub of
// code that is unmapped, or would return into it: one that left it by a tail call (of dlclose
// itself, say) returns to a trampoline, and trampolines stay. Where other text has come over a
// module unseen, parts of the old may still be there and call their stubs: these stay too.
static void drop_gone(void) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < known_count; i++) {
    if (known[i].seen) {
      known[kept++] = known[i];
      continue;
    }
    nrec_gone gone = {NREC_MESSAGE_GONE, known[i].generation, nag_time()};
    if (known[i].stubs != NULL && !known[i].is_overlaid)
      NAG_CALL(SYS_munmap, known[i].stubs, known[i].stub_bytes);
    nag_send(&gone, sizeof gone);
  }
  known_count = kept;
  cursor = 0;
}

// How many of the modules that are listed first may have run code already. At the start none has
// while there is one thread (constructors that ran before ours may have made more); later, those
// that the loader had listed when it was last at rest.
static size_t count_of_running(bool is_start) {
  if (is_start) return __libc_single_threaded ? 0 : SIZE_MAX;
  return npc_loader_listed_before();
}

static void look(shown_module *shown, uint32_t capacity, bool is_start) {
  visit_context context = {0};
  for (uint32_t i = 0; i < known_count; i++) known[i].seen = false;
  npc_modules_visit(note_seen, &context);
  last_adds = context.adds, last_subs = context.subs;
  drop_gone();
  do {
    if (nag_config.is_off) return;
    context = (visit_context){.shown = shown, .capacity = capacity,
                              .run_before = count_of_running(is_start)};
    npc_modules_visit(collect, &context);
    show(shown, context.count);
  } while (context.count == capacity);
}

// Under the loader's load lock, or before there is a second thread. The process lock is not taken:
// a thread inside dl_iterate_phdr would wait for it at its first event, and we for that thread.
static void look_again(bool is_start) {
  enum { AT_ONCE = 64 };
  uint64_t signals = nag_block_signals();
  bool is_joined = nag_is_joined();
  nag_restore_signals(signals);
  if (!is_joined) return;
  size_t bytes = nag_whole_pages(AT_ONCE * sizeof(shown_module));
  shown_module *shown = nag_pages(bytes);
  if (shown == NULL) return;
  npc_patch_prepare_quiet();  // before a module's first instruction no signal is needed
  look(shown, AT_ONCE, is_start);
  NAG_CALL(SYS_munmap, shown, bytes);
}

void nag_modules_changed(void) { look_again(false); }

bool nag_modules_start(void) {
  if (!make_room()) return false;
  look_again(true);
  return true;
}
