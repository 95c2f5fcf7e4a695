// SPDX-License-Identifier: Apache-2.0
//
// Which modules are loaded, by generation. At the start all of them are shown to the brain; later
// the loader's hook tells of those that come, before their first instruction runs, and of those
// that have gone, while nobody can patch.

#include <sys/auxv.h>
#include <sys/single_threaded.h>

#include "agent.h"
#include "syscalls.h"

enum { MAX_MODULES = 4096 };

typedef struct known_module {
  uint64_t load_bias, span_start;
  uint32_t generation;   ///< 0: the place is free
  bool seen;
  uint8_t *stubs;        ///< what its sites call; NULL: none is armed
  size_t stub_bytes;
} known_module;

static known_module *known;     // copied by a fork as it is
static uint32_t known_count, last_generation;

extern const char nag_graph_exit[] __attribute__((visibility("hidden")));

static known_module *find(const npc_module *module) {
  for (uint32_t i = 0; i < known_count; i++) {
    if (known[i].generation && known[i].load_bias == module->load_bias &&
        known[i].span_start == module->span_start)
      return &known[i];
  }
  return NULL;
}

static known_module *add(const npc_module *module) {
  uint32_t i = 0;
  while (i < known_count && known[i].generation) i++;
  if (i == MAX_MODULES) return NULL;
  if (i == known_count) known_count++;
  known[i] = (known_module){.load_bias = module->load_bias, .span_start = module->span_start,
                            .generation = ++last_generation, .seen = true};
  return &known[i];
}

// A module as it is shown to the brain. The copy outlives the visit; what it points to lives as
// long as the module.
typedef struct shown_module {
  npc_module module;
  bool may_run;          ///< its code is not known to be still untouched
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
  size_t place;          ///< in the loader's list
  size_t run_before;     ///< the code of modules before this place may run
} visit_context;

static bool is_own(const npc_module *module) {
  uint64_t here = (uint64_t)&nag_graph_exit;
  return here >= module->span_start && here < module->span_end;
}

static bool is_vdso(const npc_module *module) {
  const char *name = module->name;
  return name && name[0] == 'l' && name[5] == '-' && name[6] == 'v' && name[7] == 'd';
}

static bool collect(const npc_module *module, void *context) {
  visit_context *c = context;
  bool may_run = c->place++ < c->run_before;
  known_module *entry = find(module);
  if (entry != NULL) {
    entry->seen = true;
    return false;
  }
  if (is_own(module) || is_vdso(module) || module->text_end == 0) return false;
  if (c->count == c->capacity) return true;  // the rest at the next look
  entry = add(module);
  if (entry == NULL) return false;  // more than there are places: it is left alone
  shown_module *shown = &c->shown[c->count++];
  shown->module = *module;
  shown->may_run = may_run;
  nrec_module_message *message = &shown->message;
  message->message = NREC_MESSAGE_MODULE;
  message->generation = entry->generation;
  message->load_bias = module->load_bias;
  message->text_start = module->text_start;
  message->text_end = module->text_end;
  message->time = nag_time();
  message->build_id_length =
      module->build_id_length <= sizeof message->build_id ? module->build_id_length : 0;
  nag_copy(message->build_id, module->build_id, message->build_id_length);
  message->path_length = fill_path(message, module->name);
  return false;
}

// What is counted by is checked; the rest is compared by the transaction. A plan that could change
// or shrink after this is none.
static bool is_sound(const nrec_plan_message *plan, const nrec_plan_entry *entries) {
  for (uint32_t i = 0; i < plan->count; i++) {
    const nrec_plan_entry *entry = &entries[i];
    bool sized = entry->length == 5 || entry->length == NPC_SITE_BYTES;
    if (!sized || entry->function - plan->first_function >= plan->count) return false;
  }
  return true;
}

static void apply(shown_module *shown, const nrec_plan_message *plan, int descriptor) {
  size_t bytes = (size_t)plan->count * sizeof(nrec_plan_entry);
  if (plan->count == 0 || descriptor < 0) return;
  nrec_applied applied = {.message = NREC_MESSAGE_APPLIED, .generation = plan->generation,
                          .status = NPC_BAD_POKE};
  const nrec_plan_entry *entries = NULL;
  if (nag_is_sealed(descriptor) && nag_file_bytes(descriptor) >= bytes)
    entries = nag_mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (shown->may_run) {
    applied.status = NPC_RUNS_ALREADY;
  } else if (entries != NULL && is_sound(plan, entries)) {
    size_t stub_bytes;
    uint8_t *stubs = nag_sites_module(plan->generation, &shown->module, entries, plan->count,
                                      &applied, &stub_bytes);
    known_module *entry = find(&shown->module);
    if (entry != NULL) entry->stubs = stubs, entry->stub_bytes = stub_bytes;
  }
  if (entries != NULL) NAG_CALL(SYS_munmap, entries, bytes);
  nag_send(&applied, sizeof applied);
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
    int64_t length = nag_receive(&plan, sizeof plan, &descriptor, 1);
    bool answers = length == (int64_t)sizeof plan && plan.message == NREC_MESSAGE_PLAN &&
                   plan.generation == shown[i].message.generation;
    if (answers) apply(&shown[i], &plan, descriptor);
    if (descriptor >= 0) NAG_CALL(SYS_close, descriptor);
    if (!answers) return;
  }
}

static void tell_gone(void) {
  for (uint32_t i = 0; i < known_count; i++) {
    if (known[i].generation == 0 || known[i].seen) continue;
    nrec_gone gone = {NREC_MESSAGE_GONE, known[i].generation, nag_time()};
    known[i].generation = 0;
    // Nobody is in a stub of code that is unmapped, or would return into it.
    if (known[i].stubs != NULL) NAG_CALL(SYS_munmap, known[i].stubs, known[i].stub_bytes);
    nag_send(&gone, sizeof gone);
  }
}

// At the start every module is untouched while there is one thread: constructors that ran before
// ours may have made more. Later those are that the loader has listed since it was last at rest.
static size_t count_of_running(bool is_start) {
  if (is_start) return __libc_single_threaded ? 0 : SIZE_MAX;
  return npc_loader_listed_before();
}

static void look(bool is_start) {
  enum { AT_ONCE = 64 };
  nag_process *process = nag_process_state;
  if (known == NULL || !nag_is_joined()) return;
  size_t bytes = (AT_ONCE * sizeof(shown_module) + 4095) & ~(size_t)4095;
  shown_module *shown = nag_pages(bytes);
  if (shown == NULL) return;
  nag_lock(&process->lock);
  npc_patch_prepare_quiet();  // before a module's first instruction no signal is needed
  visit_context context;
  do {
    for (uint32_t i = 0; i < known_count; i++) known[i].seen = false;
    context = (visit_context){.shown = shown, .capacity = AT_ONCE,
                              .run_before = count_of_running(is_start)};
    bool is_more = npc_modules_visit(collect, &context);
    if (!is_more) tell_gone();
    show(shown, context.count);
  } while (context.count == AT_ONCE);
  nag_unlock(&process->lock);
  NAG_CALL(SYS_munmap, shown, bytes);
}

// Under the loader's load lock.
void nag_modules_changed(void) { look(false); }

bool nag_modules_start(void) {
  known = nag_pages(MAX_MODULES * sizeof *known);
  if (known == NULL) return false;
  look(true);
  return true;
}
