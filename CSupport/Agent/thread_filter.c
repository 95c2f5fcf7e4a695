// SPDX-License-Identifier: Apache-2.0
//
// Filters by thread: whether a thread is recorded depends on its name. A thread's name is checked
// at its first traced call, and again at its first traced call after any thread's name has changed:
// the agent interposes the libc functions that change names (interposed.c).
//
// A name change that is not intercepted (a system call of the program's own, a write to
// /proc/PID/task/TID/comm) takes effect at the next intercepted change.

#include <sys/prctl.h>

#include "CGlob.h"
#include "agent.h"
#include "syscalls.h"

enum { NAME_BYTES = 16, STEP = 2 };

/// An even number. A thread's word equals it, or is one more where the thread is not wanted. It is
/// never 0, because a new thread's word is 0.
uint32_t nag_thread_generation __attribute__((visibility("hidden"))) = STEP;

static bool matches(const nrec_thread_rule *rule, const char *name) {
  const unsigned char *pattern = (const unsigned char *)rule->pattern;
  size_t length = ngl_length(rule->pattern, NREC_THREAD_PATTERN);
  return ngl_matches(pattern, length, ngl_shape_of(pattern, length), (const unsigned char *)name,
                     ngl_length(name, NAME_BYTES));
}

// Tells the recorder which rules are no slips of the pen.
static void tell_met(uint32_t met) {
  nrec_arena *arena = nag_config.arena;
  if (arena == NULL) return;
  if ((__atomic_load_n(&arena->thread_rules_met, __ATOMIC_RELAXED) & met) == met) return;
  __atomic_fetch_or(&arena->thread_rules_met, met, __ATOMIC_RELAXED);
}

// The last rule that matches decides, as for functions.
static bool is_wanted(const char *name) {
  const nrec_config *config = &nag_config.config;
  uint32_t count = config->thread_rules, met = 0;
  if (count > NREC_MOST_THREAD_RULES) count = NREC_MOST_THREAD_RULES;
  bool wanted = count == 0 || config->threads[0].is_removal;
  for (uint32_t i = 0; i < count; i++) {
    if (!matches(&config->threads[i], name)) continue;
    met |= 1u << i;
    wanted = !config->threads[i].is_removal;
  }
  tell_met(met);
  return wanted;
}

// A confined thread's name is the last that was known; the recorder knows a later one.
void nag_thread_name(char *name) {
  if (!nag_is_confined) NAG_CALL(SYS_prctl, PR_GET_NAME, nag_self.name);
  nag_copy(name, nag_self.name, NAME_BYTES);
}

void nag_thread_ask(uint32_t function, uint64_t *location) {
  (void)function, (void)location;
  char name[NAME_BYTES + 1] = {0};
  // Read before the name is: if the name changes in between, the answer counts as outdated.
  uint32_t generation = __atomic_load_n(&nag_thread_generation, __ATOMIC_ACQUIRE);
  nag_thread_name(name);
  nag_self.choice = generation + !is_wanted(name);
}

void nag_thread_renamed(void) {
  // A chunk has the name that its thread had when the chunk was begun. A thread that makes traced
  // calls before it takes a name should still appear under that name. The name of another thread
  // appears in that thread's next chunk.
  nag_buffer *buffer = nag_self.buffer;
  if (buffer != NULL && nag_chunk(buffer) != NULL)
    nag_thread_name(((nrec_chunk_header *)nag_chunk(buffer))->thread_name);
  if (nag_config.config.thread_rules == 0) return;
  if (__atomic_add_fetch(&nag_thread_generation, STEP, __ATOMIC_RELEASE) == 0)
    __atomic_add_fetch(&nag_thread_generation, STEP, __ATOMIC_RELEASE);
}
