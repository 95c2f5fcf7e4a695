// SPDX-License-Identifier: Apache-2.0
//
// A run of nops must not change under a thread that is between two of them. There is no need to
// wait for the thread: it would only execute nops, so it is moved to the run's end, as if it had
// executed them. The steps, behind the leads, which let no further thread into a run:
//   1. For a parked thread: change the PC that the stop signal's handler will return to.
//   2. Where a signal interrupted a thread between two nops, and its handler is parked or asleep:
//      change the place that the handler will return to (signal_frames.c).
//   3. Stop the threads that woke meanwhile. If there were any, or if anything was moved, begin
//      again: the handler of such a thread may have returned before step 2 looked at it.
//   4. Repeat step 1: a sleeper with the stop signal pending parks by itself when it wakes.
// A sleeper's own PC is behind a syscall instruction. Only its vfork child may be inside a run.

#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>

#include "faults.h"
#include "internal.h"

typedef struct {
  const npc_transaction *transaction;
  npc_run_side side;
  npc_result *result;
  bool is_safe_to_swap;
} clearing;

static bool has_run(const npc_poke *poke, npc_run_side side) {
  return side == NPC_OLD_RUNS ? poke->flags & NPC_POKE_RUN_OF_NOPS : npc_poke_becomes_run(poke);
}

// The end of the run that `pc` is in the middle of; 0: it is in none.
static uint64_t end_of_run(const clearing *c, uint64_t pc) {
  const npc_poke *poke = npc_poke_before(c->transaction, pc);
  uint64_t end = poke ? poke->address + poke->length : 0;
  return pc < end && has_run(poke, c->side) ? end : 0;
}

static bool move_thread(const npc_stopped *thread, void *context) {
  clearing *c = context;
  uint64_t end = thread->pc ? end_of_run(c, *thread->pc) : 0;
  if (end != 0) {
    *thread->pc = end;
    c->result->moved++;
  }
  return true;
}

// A sleeper may wake, return from its handler and use the place for something else, or unmap the
// stack. So the word changes only if it still has the value that was read, and the store may fault.
static bool move_frame(const npc_stopped *thread, uint64_t *place, uint64_t pc, void *context) {
  clearing *c = context;
  uint64_t end = place ? end_of_run(c, pc) : 0;
  if (place && end == 0) return true;
  if (!place || (!thread->pc && !c->is_safe_to_swap)) {
    c->result->thread = thread->thread;
    return false;
  }
  if (npc_swap_word(place, pc, end)) c->result->moved++;
  return true;
}

static bool fail(const clearing *c, int status, int32_t thread, int error) {
  c->result->status = status;
  c->result->phase = NPC_PHASE_WRITE;
  c->result->thread = thread;
  c->result->error = error;
  return false;
}

bool npc_runs_exist(const npc_transaction *transaction, npc_run_side side) {
  for (size_t i = 0; i < transaction->count; i++) {
    if (has_run(&transaction->pokes[i], side)) return true;
  }
  return false;
}

bool npc_runs_clear(const npc_transaction *transaction, npc_run_side side, npc_result *result) {
  clearing c = {transaction, side, result, npc_faults_are_caught()};
  npc_stop_report report;
  uint32_t before;
  do {
    before = result->moved;
    npc_stop_each(move_thread, &c);
    result->thread = 0;
    int error = npc_signal_frames_visit(move_frame, &c);
    if (error) return fail(&c, NPC_NOT_STOPPED, 0, error);
    if (result->thread) return fail(&c, NPC_THREAD_INSIDE, result->thread, 0);
    report = (npc_stop_report){0};
    if (!npc_stop_settle(&report)) return fail(&c, NPC_NOT_STOPPED, report.thread, report.error);
  } while (report.woken != 0 || result->moved != before);
  // A sleeper may have parked since, by a signal that was pending when it returned from its handler.
  npc_stop_each(move_thread, &c);
  return true;
}
