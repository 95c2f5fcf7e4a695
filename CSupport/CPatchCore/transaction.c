// SPDX-License-Identifier: Apache-2.0
//
// Executes a transaction, from its pokes to its result; poke.h gives the order of the steps.

#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "faults.h"
#include "internal.h"
#include "memory_reading.h"
#include "modules.h"

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t fork_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

void npc_patch_lock(void) { pthread_mutex_lock(&lock); }
void npc_patch_unlock(void) { pthread_mutex_unlock(&lock); }

void npc_block_forks(void) { pthread_mutex_lock(&fork_lock); }
void npc_allow_forks(void) { pthread_mutex_unlock(&fork_lock); }

static _Atomic bool is_visiting;  // a thread is inside dl_iterate_phdr, with the loader's lock
static _Atomic pthread_t forking;  // the thread that has the fork lock for its fork; 0: none

void npc_note_visit(bool is_inside) { atomic_store(&is_visiting, is_inside); }

// Before a fork. The holder of the fork lock needs only the loader's lock, and has it for a moment.
// But it may be waiting for it, and in vain: this thread forks in a callback of dl_iterate_phdr, or
// another thread has it and waits for an allocator's lock that this thread has. Then the holder has
// changed nothing yet, and the fork goes on without the lock.
static void begin_fork(void) {
  enum { PATIENCE_NANOSECONDS = 200 * 1000 * 1000, TRIES = 20 };
  for (int i = 0; i < TRIES; i++) {
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_nsec += PATIENCE_NANOSECONDS;
    if (deadline.tv_nsec >= 1000000000) deadline.tv_sec++, deadline.tv_nsec -= 1000000000;
    if (pthread_mutex_timedlock(&fork_lock, &deadline) == 0) {
      atomic_store(&forking, pthread_self());
      return;
    }
    if (!atomic_load(&is_visiting)) return;
  }
}

static void end_fork(void) {
  if (atomic_load(&forking) != pthread_self()) return;
  atomic_store(&forking, 0);
  pthread_mutex_unlock(&fork_lock);
}

static pthread_once_t once_for_forks = PTHREAD_ONCE_INIT, once_for_signals = PTHREAD_ONCE_INIT;
static int forks_error, signals_error;
static _Atomic bool are_signals_prepared;

// Called in a forked child, which has one thread. The locks may be held by threads that it does not
// have, so they are made anew. (Nowhere else may they be: a thread may hold one or wait for it.)
static void begin_child(void) {
  lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
  fork_lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
  atomic_store(&forking, 0);
  npc_note_visit(false);
  npc_loader_begin_child();
  npc_stop_begin_child();
  npc_protocol_begin_child();
}

static void prepare_forks(void) {
  // A child that is forked in the middle of a transaction would inherit half of one, and the loader's
  // lock, held by a thread that it does not have.
  forks_error = pthread_atfork(begin_fork, end_fork, begin_child);
}

static void prepare_signals(void) {
  signals_error = npc_stop_prepare();
  if (signals_error == 0) signals_error = npc_faults_add(npc_protocol_trap);
  are_signals_prepared = signals_error == 0;
}

int npc_patch_prepare_quiet(void) {
  pthread_once(&once_for_forks, prepare_forks);
  return forks_error;
}

int npc_patch_prepare(void) {
  int error = npc_patch_prepare_quiet();
  if (error) return error;
  pthread_once(&once_for_signals, prepare_signals);
  return signals_error ? signals_error : npc_faults_install();
}

typedef struct {
  const npc_transaction *transaction;
  npc_result *result;
} execution;

static bool fail(const execution *e, int status, int phase, int error) {
  e->result->status = status;
  e->result->phase = phase;
  e->result->error = error;
  return false;
}

static bool fail_at(const execution *e, int status, int phase, size_t index) {
  e->result->index = index;
  e->result->has_index = true;
  return fail(e, status, phase, 0);
}

// Checks that the bytes at poke `i` are the expected ones.
static bool compare(const execution *e, size_t i, int phase) {
  const npc_poke *poke = &e->transaction->pokes[i];
  uint64_t actual = npc_read_site((const void *)poke->address, poke->length);
  if (actual == npc_expected_code(poke)) return true;
  if (actual == NPC_NO_CODE) return fail_at(e, NPC_UNREADABLE, phase, i);
  memcpy(e->result->actual, &actual, sizeof e->result->actual);
  e->result->has_actual = true;
  return fail_at(e, NPC_MISMATCH, phase, i);
}

static bool verify_all(const execution *e) {
  const npc_transaction *t = e->transaction;
  if (!npc_faults_are_caught()) {
    size_t absent = npc_text_find_absent(t->pokes, t->count);
    if (absent < t->count) return fail_at(e, NPC_UNREADABLE, NPC_PHASE_VERIFY, absent);
  }
  for (size_t i = 0; i < t->count; i++) {
    const npc_poke *poke = &t->pokes[i];
    if (!compare(e, i, NPC_PHASE_VERIFY)) return false;
    // Verify the bytes just compared. Memory is not read again, so both checks see the same bytes.
    if (!t->verify(t->verifier, poke->expected_kind, poke->length, poke->target, poke->address,
                   poke->expected))
      return fail_at(e, NPC_UNCONFIRMED, NPC_PHASE_VERIFY, i);
  }
  return true;
}

static bool check_shape(const execution *e) {
  const npc_transaction *t = e->transaction;
  bool needs_signals = t->protocol != NPC_PROTOCOL_NONE && t->protocol != NPC_PROTOCOL_JUMP_GUARD;
  bool is_outside = npc_outside_is_used() && t->protocol != NPC_PROTOCOL_BREAKPOINT;
  if (needs_signals && !is_outside && !are_signals_prepared)
    return fail(e, NPC_UNSUITABLE, NPC_PHASE_PREPARE, 0);
  for (size_t i = 0; i < t->count; i++) {
    const npc_poke *poke = &t->pokes[i];
    bool sized = poke->length == 5 || poke->length == 6;
    if (!sized || (i > 0 && t->pokes[i - 1].address + t->pokes[i - 1].length > poke->address))
      return fail_at(e, NPC_BAD_POKE, NPC_PHASE_PREPARE, i);
    if (t->protocol == NPC_PROTOCOL_JUMP_GUARD &&
        (t->writer == NPC_WRITER_PROC_MEM || !npc_poke_allows_jump_guard(poke)))
      return fail_at(e, NPC_UNSUITABLE, NPC_PHASE_PREPARE, i);
    if (t->protocol == NPC_PROTOCOL_BREAKPOINT && npc_poke_has_run(poke))
      return fail_at(e, NPC_UNSUITABLE, NPC_PHASE_PREPARE, i);
  }
  return true;
}

static int32_t choose_protocol(const npc_transaction *t) {
  if (t->protocol != NPC_PROTOCOL_AUTOMATIC) return t->protocol;
  if (t->writer == NPC_WRITER_PROC_MEM) return NPC_PROTOCOL_STOP_MACHINE;
  for (size_t i = 0; i < t->count; i++) {
    if (!npc_poke_allows_jump_guard(&t->pokes[i])) return NPC_PROTOCOL_STOP_MACHINE;
  }
  return NPC_PROTOCOL_JUMP_GUARD;
}

// `blocking` comes from npc_stop_find_blocking. Where the masks cannot be read, no int3 is written.
static bool may_trap(const execution *e, int32_t blocking, int phase) {
  if (!npc_faults_owns(SIGTRAP)) return fail(e, NPC_TRAP_TAKEN, phase, 0);
  if (blocking == 0) return true;
  e->result->thread = blocking > 0 ? blocking : 0;
  return fail(e, NPC_NOT_STOPPED, phase, blocking > 0 ? EPERM : -blocking);
}

bool npc_check_threads(const npc_transaction *t, npc_result *result, int phase) {
  const execution checked = {t, result}, *e = &checked;
  bool traps = false;
  for (size_t i = 0; i < t->count && !traps; i++)
    traps = npc_lead_is_trap(npc_lead_for(&t->pokes[i], NPC_PROTOCOL_STOP_MACHINE, t->writer));
  int32_t parent = npc_runs_exist(t, NPC_OLD_RUNS) ? npc_stop_find_vfork() : 0;
  if (parent != 0) {
    e->result->thread = parent;
    return fail(e, NPC_THREAD_INSIDE, phase, 0);
  }
  return !traps || may_trap(e, npc_stop_find_blocking(SIGTRAP, true), phase);
}

static bool stop(const execution *e) {
  npc_stop_request request = {.timeout_milliseconds = e->transaction->stop_timeout_milliseconds};
  npc_stop_report report;
  bool stopped = npc_stop_threads(&request, &report);
  e->result->stopped = report.stopped;
  e->result->asleep = report.asleep;
  e->result->thread = report.thread;
  return stopped || fail(e, NPC_NOT_STOPPED, NPC_PHASE_STOP, report.error);
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static bool look_again(const execution *e, int phase) {
  for (size_t i = 0; i < e->transaction->count; i++) {
    if (!compare(e, i, phase)) return false;
  }
  return true;
}

static void write_stopped(const execution *e, const npc_text *text) {
  uint64_t began = now();
  if (!stop(e)) return;
  if (npc_check_threads(e->transaction, e->result, NPC_PHASE_STOP) &&
      look_again(e, NPC_PHASE_STOP))
    npc_protocol_write(e->transaction, text, NPC_PROTOCOL_STOP_MACHINE, e->result);
  npc_resume_threads();
  e->result->stopped_nanoseconds = now() - began;
}

static void write_running(const execution *e, const npc_text *text) {
  int32_t protocol = e->result->protocol;
  if (protocol == NPC_PROTOCOL_BREAKPOINT &&
      !may_trap(e, npc_stop_find_blocking(SIGTRAP, false), NPC_PHASE_STOP)) return;
  if (look_again(e, NPC_PHASE_OPEN)) npc_protocol_write(e->transaction, text, protocol, e->result);
}

static void run(const execution *e, const npc_module *module) {
  const npc_transaction *t = e->transaction;
  if (t->count == 0 || !verify_all(e)) return;
  e->result->protocol = choose_protocol(t);
  npc_text text = {.writer = t->writer, .module = module};
  if (!npc_text_open(&text, t->pokes, t->count)) {
    fail(e, NPC_UNWRITABLE, NPC_PHASE_OPEN, errno);
    return;
  }
  if (e->result->protocol == NPC_PROTOCOL_STOP_MACHINE) write_stopped(e, &text);
  else write_running(e, &text);
  int error = npc_text_close(&text, t->pokes, t->count);
  if (error != 0 && e->result->status == NPC_OK) fail(e, NPC_UNWRITABLE, NPC_PHASE_CLOSE, error);
}

// Checks that every poke is in one of the module's executable segments.
static bool check_place(const execution *e, const npc_module *module) {
  const npc_transaction *t = e->transaction;
  // Pokes ascend. While the end of the last one is in the segment of the first, so are all between.
  for (size_t i = 0, next; i < t->count; i = next) {
    const npc_poke *first = &t->pokes[i];
    next = t->count;
    while (next > i) {
      const npc_poke *last = &t->pokes[next - 1];
      if (npc_module_has_text(module, first->address, last->address + last->length - first->address))
        break;
      next = i + (next - i) / 2;
    }
    if (next == i) return fail_at(e, NPC_OUTSIDE_TEXT, NPC_PHASE_PREPARE, i);
  }
  return true;
}

static bool is_wanted(const npc_transaction *t, const npc_module *module) {
  return module->load_bias == t->load_bias && module->build_id_length == t->build_id_length &&
         (t->build_id_length == 0 ||
          memcmp(module->build_id, t->build_id, t->build_id_length) == 0);
}

static bool may_be_wanted(const npc_listed *listed, void *context) {
  return listed->load_bias == ((const execution *)context)->transaction->load_bias;
}

static bool visit(const npc_module *module, void *context) {
  const execution *e = context;
  if (!is_wanted(e->transaction, module)) return false;
  *e->result = (npc_result){0};
  if (e->transaction->check_unloads && module->subs != e->transaction->subs)
    fail(e, NPC_STALE, NPC_PHASE_PREPARE, 0);
  else if (check_place(e, module))
    run(e, module);
  return true;
}

// Blocks all signals except the CPU's own, which cannot be postponed.
static void block_signals(sigset_t *before) {
  static const int faults[] = {SIGSEGV, SIGBUS, SIGTRAP, SIGILL, SIGFPE, SIGSYS};
  sigset_t mask;
  sigfillset(&mask);
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) sigdelset(&mask, faults[i]);
  pthread_sigmask(SIG_BLOCK, &mask, before);
}

bool npc_transaction_try(const npc_transaction *transaction, npc_result *result) {
  execution e = {transaction, result};
  *result = (npc_result){.status = NPC_MODULE_GONE};
  if (!check_shape(&e)) return false;
  // A signal handler of the program's on this thread could wait for a thread that is stopped. It
  // could also siglongjmp away while text is open, threads are stopped and two locks are held. It
  // runs when all is done.
  sigset_t before;
  block_signals(&before);
  npc_patch_lock();
  npc_modules_visit_some(may_be_wanted, visit, &e);
  npc_patch_unlock();
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return result->status == NPC_OK;
}

npc_retry npc_retry_begin(uint32_t milliseconds) {
  uint64_t time = milliseconds ? milliseconds : 1000;
  return (npc_retry){.nanoseconds = time * 1000000, .pause = 500000};
}

// What passes by itself:
//   - A vfork child may be inside a run of nops. Most such children last only until they execute
//     another program (posix_spawn makes one).
//   - A thread that is being created, or that is just leaving a stop, has every signal blocked for
//     a moment, SIGTRAP too; on a busy machine that lasts until it runs next.
// No second try over bytes that could not be put back: that result must be reported.
static bool may_pass(const npc_result *result) {
  bool blocks_trap = result->status == NPC_NOT_STOPPED && result->error == EPERM &&
                     result->protocol == NPC_PROTOCOL_BREAKPOINT;
  // Where another process stops the threads, it cannot stop the parent of a vfork.
  bool waits_for_child = result->status == NPC_NOT_STOPPED && result->error == EAGAIN &&
                         npc_outside_is_used();
  return (result->status == NPC_THREAD_INSIDE || blocks_trap || waits_for_child) &&
         !result->left_changed;
}

bool npc_retry_wait(npc_retry *retry, const npc_result *result) {
  const uint64_t longest = 20 * 1000 * 1000;
  if (!may_pass(result)) return false;
  uint64_t time = now();
  if (retry->deadline == 0) retry->deadline = time + retry->nanoseconds;
  if (time >= retry->deadline) return false;
  nanosleep(&(struct timespec){.tv_nsec = (long)retry->pause}, NULL);
  retry->pause = retry->pause < longest / 2 ? 2 * retry->pause : longest;
  return true;
}

bool npc_transaction_execute(const npc_transaction *transaction, npc_result *result) {
  npc_retry retry = npc_retry_begin(transaction->stop_timeout_milliseconds);
  while (!npc_transaction_try(transaction, result) && npc_retry_wait(&retry, result)) {}
  return result->status == NPC_OK;
}
