// SPDX-License-Identifier: Apache-2.0
//
// Which modules are loaded, by generation. At the start all of them are shown to the brain; later
// the loader's hook tells of those that come, before their first instruction runs, and of those
// that have gone, while nobody can patch.

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
  nrec_module_message message;
} shown_module;

static uint32_t fill_path(nrec_module_message *message, const char *name) {
  if (name == NULL || name[0] == 0) {  // the program
    int64_t length = NAG_CALL(SYS_readlink, "/proc/self/exe", message->path,
                              sizeof message->path - 1);
    return length > 0 ? (uint32_t)length : 0;
  }
  uint32_t length = 0;
  while (name[length] && length < sizeof message->path - 1) length++;
  nag_copy(message->path, name, length);
  return length;
}

typedef struct visit_context {
  shown_module *shown;
  uint32_t count, capacity;
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
  known_module *entry = find(module);
  if (entry != NULL) {
    entry->seen = true;
    return false;
  }
  if (is_own(module) || is_vdso(module) || module->text_end == 0) return false;
  if (c->count == c->capacity) return true;  // the rest at the next look
  entry = add(module);
  if (entry == NULL) return true;
  shown_module *shown = &c->shown[c->count++];
  shown->module = *module;
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

static void apply(shown_module *shown, const nrec_plan_message *plan, int descriptor) {
  size_t bytes = (size_t)plan->count * sizeof(nrec_plan_entry);
  if (plan->count == 0 || descriptor < 0) return;
  const nrec_plan_entry *entries =
      nag_mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  nrec_applied applied = {.message = NREC_MESSAGE_APPLIED, .generation = plan->generation,
                          .status = NPC_UNWRITABLE, .error = ENOMEM};
  if (entries != NULL) {
    size_t stub_bytes;
    uint8_t *stubs = nag_sites_module(plan->generation, &shown->module, entries, plan->count,
                                      &applied, &stub_bytes);
    known_module *entry = find(&shown->module);
    if (entry != NULL) entry->stubs = stubs, entry->stub_bytes = stub_bytes;
    NAG_CALL(SYS_munmap, entries, bytes);
  }
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

// Under the loader's load lock, or before there is a second thread.
void nag_modules_changed(void) {
  enum { AT_ONCE = 64 };
  nag_process *process = nag_process_state;
  if (known == NULL || !nag_is_joined()) return;
  size_t bytes = (AT_ONCE * sizeof(shown_module) + 4095) & ~(size_t)4095;
  shown_module *shown = nag_pages(bytes);
  if (shown == NULL) return;
  nag_lock(&process->lock);
  npc_patch_prepare();
  visit_context context;
  do {
    for (uint32_t i = 0; i < known_count; i++) known[i].seen = false;
    context = (visit_context){.shown = shown, .capacity = AT_ONCE};
    bool is_more = npc_modules_visit(collect, &context);
    if (!is_more) tell_gone();
    show(shown, context.count);
  } while (context.count == AT_ONCE);
  npc_faults_remove();  // outside of this, faults and traps are the program's alone
  nag_unlock(&process->lock);
  NAG_CALL(SYS_munmap, shown, bytes);
}

bool nag_modules_start(void) {
  known = nag_pages(MAX_MODULES * sizeof *known);
  if (known == NULL) return false;
  nag_modules_changed();
  return true;
}
