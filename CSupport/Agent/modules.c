// SPDX-License-Identifier: Apache-2.0
//
// Keeps the table of loaded modules, each with its generation. At the start the agent reports all
// of them to the recorder. Later the loader's hook calls the agent when modules were loaded, before
// their first instruction runs, and when modules were unloaded, while nobody can patch.
//
// The table is in the loader's own order: a new module goes to the end of both lists. So the search
// for the next listed module starts behind the last one found, and one look costs as much as the
// list is long. It reads nothing of a module that is known: a known one is recognised by what the
// loader's list has of it.
//
// A deviation stops all patching. A deviation means: a module's text is not what its file contains,
// a plan is malformed, or bytes that were written cannot be read back. The agent then cannot know
// what else is wrong. It sends the full report to the recorder and marks the recording; armed sites
// record nothing from then on, and nothing is patched again.

#define _GNU_SOURCE
#include <sys/single_threaded.h>

#include "agent.h"
#include "known_modules.h"
#include "syscalls.h"

known_module *known;
uint32_t known_count;
static uint32_t known_capacity, last_generation;
static uint32_t cursor;         // where the search for the next listed module starts
static uint64_t last_adds, last_subs;  // the loader's counts at the last look
static bool is_late;            // the recording has begun while the program ran

static uint64_t hash(const uint8_t *bytes, uint32_t length) {
  uint64_t hash = 0xcbf29ce484222325;
  for (uint32_t i = 0; i < length; i++) hash = (hash ^ bytes[i]) * 0x100000001b3;
  return hash;
}

// Where the module's headers cannot be read any more, part of it has been unmapped. It counts as
// still there.
static bool is_at(const known_module *one, const void *wanted) {
  const npc_module *module = wanted;
  if (one->load_bias != module->load_bias) return false;
  return module->span_end == 0 ||
         (one->span_start == module->span_start && one->span_end == module->span_end);
}

static bool is_listed_as(const known_module *one, const void *wanted) {
  const npc_listed *listed = wanted;
  return one->load_bias == listed->load_bias && one->headers == listed->headers;
}

static known_module *find(bool (*is_it)(const known_module *one, const void *wanted),
                          const void *wanted) {
  for (uint32_t i = 0; i < known_count; i++) {
    uint32_t at = cursor + i < known_count ? cursor + i : cursor + i - known_count;
    if (known[at].is_overlaid || !is_it(&known[at], wanted)) continue;
    cursor = at + 1 < known_count ? at + 1 : 0;
    return &known[at];
  }
  return NULL;
}

static known_module *find_listed(const npc_listed *listed) { return find(is_listed_as, listed); }

static bool make_room(void) {
  if (known_count < known_capacity) return true;
  size_t old = known_capacity * sizeof *known, wide = old ? 2 * old : 256 * sizeof *known;
  void *memory = nag_pages(wide);
  if (memory == NULL) return false;
  nag_copy(memory, known, known_count * sizeof *known);
  if (known != NULL) nag_unmap(known, old);
  known = memory;
  known_capacity = (uint32_t)(wide / sizeof *known);
  return true;
}

static known_module *add(const npc_module *module) {
  if (!make_room()) return NULL;
  known[known_count] = (known_module){
    .load_bias = module->load_bias, .span_start = module->span_start,
    .span_end = module->span_end, .headers = module->headers, .generation = ++last_generation,
    .build = hash(module->build_id, module->build_id_length), .seen = true,
  };
  return &known[known_count++];
}

// A module as it is reported to the recorder. This copy outlives the visit. The memory that it
// points to lives as long as the module.
typedef struct shown_module {
  npc_module module;
  uint32_t place;       ///< in `known`
  bool may_run;         ///< its code may have run already
  nrec_module_message message;
} shown_module;

typedef struct visit_context {
  shown_module *shown;
  uint32_t count, capacity;
  uint64_t adds, subs;
  size_t listed;         ///< how many were looked at
  size_t run_before;     ///< the modules before this place may have run code
  bool may_run;          ///< whether the one that is looked at may have
} visit_context;

static bool is_agent(const npc_module *module) {
  uint64_t here = (uint64_t)&nag_config;
  return here >= module->span_start && here < module->span_end;
}

static bool is_vdso(const npc_listed *listed) {
  static const char vdso[] = "linux-vdso";
  for (size_t i = 0; i < sizeof vdso - 1; i++)
    if (listed->name == NULL || listed->name[i] != vdso[i]) return false;
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

// Notes which of the known modules are still there. A known place is enough, because every unload
// is announced. The module's text would prove nothing, because anybody may have changed it. The
// loader's count of unloads also shows those that were not announced (a debugger's breakpoint was
// on the hook). If modules have both come and gone since the last look, another generation may be
// at the same place: then the text there is what its file contains, without the mark.
static bool note_listed(const npc_listed *listed, void *context) {
  visit_context *c = context;
  c->adds = listed->adds, c->subs = listed->subs;
  if (listed->adds != last_adds && listed->subs != last_subs) return true;
  known_module *entry = find_listed(listed);
  if (entry != NULL) entry->seen = true;
  return false;
}

static bool note_doubtful(const npc_module *module, void *context) {
  (void)context;
  known_module *entry = find(is_at, module);
  if (entry == NULL) return false;
  uint64_t build = hash(module->build_id, module->build_id_length);
  entry->is_overlaid = entry->build != build || !is_marked(entry);
  entry->seen = !entry->is_overlaid;
  entry->headers = module->headers;
  return false;
}

static bool is_new(const npc_listed *listed, void *context) {
  visit_context *c = context;
  c->may_run = c->listed++ < c->run_before;
  return find_listed(listed) == NULL && !is_vdso(listed);
}

// Collects the new modules, as many as there is room for.
static bool collect(const npc_module *module, void *context) {
  visit_context *c = context;
  if (is_agent(module) || module->text_end == 0 || find(is_at, module)) return false;
  if (c->count == c->capacity) return true;
  known_module *entry = add(module);
  if (entry == NULL) return false;  // no memory: the module is not patched
  shown_module *shown = &c->shown[c->count++];
  shown->place = known_count - 1;
  shown->may_run = c->may_run;
  shown->module = *module;
  nag_module_describe(&shown->message, module, entry->generation);
  return false;
}

// Remembers the bytes at the first armed site. They distinguish this generation from a later one of
// the same build at the same place.
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

// Where there is no memory for them, calls are recorded without values.
static void add_fetches(const nrec_plan_message *plan, const nrec_answer *answer) {
  size_t bytes = nag_whole_pages((size_t)plan->fetches * sizeof(nrec_fetch));
  nrec_fetch *copy = plan->fetches == 0 ? NULL : nag_pages(bytes);
  if (copy == NULL) return;
  nag_copy(copy, answer->entries + plan->count, (size_t)plan->fetches * sizeof *copy);
  if (nag_values_are_sound(copy, plan->fetches)) nag_values_add(copy, plan->fetches);
  nag_unmap(copy, bytes);
}

// Checks the lengths and numbers that the agent itself relies on. The transaction compares the
// rest.
static bool is_sound(const nrec_plan_message *plan, const nrec_plan_entry *entries) {
  for (uint32_t i = 0; i < plan->count; i++) {
    const nrec_plan_entry *entry = &entries[i];
    bool sized = entry->length == 5 || entry->length == NPC_SITE_BYTES;
    if (!sized || entry->function - plan->first_function >= plan->count) return false;
  }
  return true;
}

// Whether a plan's failure is a deviation. The other failures have a known cause: the system
// refused something, or no protocol can serve a site of code that may be running.
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
  nag_mark(NREC_FLAG_CORRUPTED);
  nag_config.is_off = true;
  for (uint32_t i = 0; i < known_count; i++)
    if (known[i].stubs != NULL) nag_sites_turn_off(known[i].stubs);
}

// Copies a plan's entries, so that nobody changes them once they were checked. NULL, with the status,
// where the plan is not sound or there is no memory.
static nrec_plan_entry *copy_plan(const nrec_plan_message *plan, const nrec_plan_entry *entries,
                                  nrec_applied *applied) {
  size_t bytes = nag_whole_pages((size_t)plan->count * sizeof *entries);
  nrec_plan_entry *copy = nag_pages(bytes);
  applied->status = copy == NULL ? NPC_UNWRITABLE : NPC_BAD_POKE;
  applied->error = copy == NULL ? ENOMEM : 0;
  if (copy == NULL) return NULL;
  nag_copy(copy, entries, (size_t)plan->count * sizeof *entries);
  if (is_sound(plan, copy)) return copy;
  nag_unmap(copy, bytes);
  return NULL;
}

// Where threads may run the code: the only protocol that needs no signal, unless another process can
// stop the threads.
static int32_t protocol_for(const shown_module *shown) {
  if (!shown->may_run) return NPC_PROTOCOL_NONE;
  return is_late ? NPC_PROTOCOL_AUTOMATIC : NPC_PROTOCOL_JUMP_GUARD;
}

static void patch(shown_module *shown, const nrec_plan_message *plan,
                  nrec_plan_entry *entries, nrec_applied *applied) {
  size_t stub_bytes;
  uint8_t *stubs = nag_sites_module(plan->generation, &shown->module, entries, plan->count,
                                    protocol_for(shown), applied, &stub_bytes);
  if (shown->may_run && applied->status == NPC_UNSUITABLE) applied->status = NPC_RUNS_ALREADY;
  known_module *entry = &known[shown->place];
  entry->stubs = stubs, entry->stub_bytes = stub_bytes;
  if (applied->status == NPC_OK) set_mark(entry, entries, plan->count);
  // What the sites were is needed where they are to be that again.
  bool is_changed = applied->status == NPC_OK || applied->left_changed;
  if (stubs != NULL && is_changed) {
    entry->module = shown->module;
    entry->plan = entries, entry->plan_count = plan->count;
  } else {
    nag_unmap(entries, nag_whole_pages((size_t)plan->count * sizeof *entries));
  }
}

static void apply(shown_module *shown, const nrec_plan_message *plan, const nrec_answer *answer) {
  if (plan->message != NREC_MESSAGE_PLAN || plan->count == 0) return;
  nrec_applied applied = {.message = NREC_MESSAGE_APPLIED, .generation = plan->generation,
                          .status = NPC_BAD_POKE};
  nrec_plan_entry *entries = nag_mail_holds(answer, plan)
                                 ? copy_plan(plan, answer->entries, &applied)
                                 : NULL;
  if (entries != NULL) {
    add_fetches(plan, answer);
    patch(shown, plan, entries, &applied);
  }
  applied.is_off = is_anomaly(&applied);
  if (applied.is_off) turn_off();
  nag_mail_add(&applied, sizeof applied);
}

// Sends all questions first and then reads the answers, so that the start waits only once.
static void show(shown_module *shown, uint32_t count) {
  const size_t fixed = offsetof(nrec_module_message, path);
  uint32_t sent = 0;
  while (sent < count &&
         nag_mail_add(&shown[sent].message, fixed + shown[sent].message.path_length))
    sent++;
  nag_mail_send();
  for (uint32_t i = 0; i < sent; i++) {
    const nrec_answer *answer = nag_mail_answer(shown[i].message.generation);
    if (answer == NULL) break;
    const nrec_plan_message plan = answer->plan;
    if (!nag_config.is_off) apply(&shown[i], &plan, answer);
    nag_mail_done(answer, &plan);
  }
  nag_mail_send();
}

static bool stays(const known_module *one) { return one->seen || one->generation == 0; }

// Removes unloaded modules from the table and unmaps their stubs. No thread runs in a stub of
// unmapped code or will return into one: a thread that left a stub by a tail call (of dlclose
// itself, say) returns to a trampoline, and trampolines stay mapped. Where other text has replaced
// a module without an announcement, parts of the old text may still be mapped and call their stubs.
// Those stubs stay mapped, and in the table, so that an anomaly turns them off too.
static void drop_gone(void) {
  uint32_t kept = 0;
  npc_block_forks();  // a child inherits the whole table
  while (kept < known_count && stays(&known[kept])) kept++;
  for (uint32_t i = kept; i < known_count; i++) {
    known_module one = known[i];
    if (stays(&one)) {
      known[kept++] = one;
      continue;
    }
    nrec_gone gone = {NREC_MESSAGE_GONE, one.generation, nag_time()};
    nag_mail_add(&gone, sizeof gone);
    one.generation = 0;
    nag_known_drop_plan(&one);
    if (one.stubs != NULL && one.is_overlaid) known[kept++] = one;
    else if (one.stubs != NULL) nag_unmap(one.stubs, one.stub_bytes);
  }
  known_count = kept;
  cursor = 0;
  npc_allow_forks();
}

// How many modules at the head of the list may have run code already. At the start: none while
// there is one thread (constructors that ran before the agent's may have created threads). Later:
// those that the loader had listed when it was last at rest.
static size_t count_of_running(bool is_start) {
  if (is_start) return __libc_single_threaded && !is_late ? 0 : SIZE_MAX;
  return npc_loader_listed_before();
}

static void look(shown_module *shown, uint32_t capacity, bool is_start) {
  visit_context context = {0};
  for (uint32_t i = 0; i < known_count; i++) known[i].seen = false;
  npc_modules_visit_some(note_listed, note_doubtful, &context);
  last_adds = context.adds, last_subs = context.subs;
  drop_gone();
  do {
    if (nag_config.is_off) return;
    context = (visit_context){.shown = shown, .capacity = capacity,
                              .run_before = count_of_running(is_start)};
    npc_modules_visit_some(is_new, collect, &context);
    show(shown, context.count);
  } while (context.count == capacity);
}

// Called under the loader's load lock, or before there is a second thread. It does not take the
// process lock: a thread inside dl_iterate_phdr would wait for that lock at its first event, and
// this thread would wait for that thread.
static void look_again(bool is_start) {
  enum { AT_ONCE = 64 };
  if (nag_config.forbids_patching) return;
  uint64_t signals = nag_block_signals();
  bool is_joined = nag_is_joined();
  nag_restore_signals(signals);
  if (!is_joined) return;
  size_t bytes = nag_whole_pages(AT_ONCE * sizeof(shown_module));
  shown_module *shown = nag_pages(bytes);
  if (shown == NULL) return;
  npc_patch_prepare_quiet();  // before a module's first instruction runs, patching needs no signal
  look(shown, AT_ONCE, is_start);
  nag_mail_send();
  nag_unmap(shown, bytes);
}

void nag_modules_changed(void) { look_again(false); }

static uint32_t list_generations(uint32_t *generations, uint32_t room, uint32_t *place) {
  uint32_t count = 0;
  for (; *place < known_count && count < room; ++*place)
    if (known[*place].generation != 0) generations[count++] = known[*place].generation;
  return count;
}

bool nag_modules_start(bool begins_late) {
  if (!make_room()) return false;
  is_late = begins_late;
  last_generation = cursor = 0;
  last_adds = last_subs = 0;
  nag_config.list_generations = list_generations;
  look_again(true);
  return true;
}
