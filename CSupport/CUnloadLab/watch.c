// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "watch.h"

#include <CMachineCode.h>
#include <errno.h>
#include <faults.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum {
  PAGE = 4096,
  LONGEST_INSTRUCTION = 15,
  FAULT_IS_WRITE = 1 << 1,
  FAULT_IS_FETCH = 1 << 4,
  ZERO_FLAG = 1 << 6,
};

// `owner` is the thread that steps, or starts or stops the watch; 0: none. Only the owner may use
// what is below `hooks`.
static struct {
  _Atomic(uint64_t) start, end;  // equal: no watch
  _Atomic(int) owner;
  nul_watch_hooks hooks;
  int closed, open;              // protections
  nul_access step;               // the access whose instruction runs
  bool stepping;
  uint64_t interrupted_mask;
  nmc_decoder *decoder;
} watch;

// Read by threads that must not wait for the owner: they may be in a signal handler.
static struct {
  _Atomic(uint64_t) faults, reads, writes, unchanged_locked, undecoded, refused, unlogged;
} count;
static nul_access logged[NUL_WATCH_LOG];
static _Atomic(size_t) logged_count;

static int self(void) { return (int)syscall(SYS_gettid); }

static bool watched(uint64_t address) { return address >= watch.start && address < watch.end; }

static void release(void) { atomic_store(&watch.owner, 0); }

static int protect(int protection) {
  int failed = mprotect((void *)watch.start, watch.end - watch.start, protection);
  return failed ? errno : 0;
}

// The bytes up to the page's end are readable, since the CPU has just fetched from there. The next
// page is read only if the instruction continues there.
static bool decode_at(uint64_t pc, nmc_access *decoded) {
  size_t in_page = PAGE - pc % PAGE;
  size_t available = in_page < LONGEST_INSTRUCTION ? in_page : LONGEST_INSTRUCTION;
  const uint8_t *bytes = (const uint8_t *)pc;
  if (nmc_decode_access(watch.decoder, bytes, available, pc, decoded)) return true;
  return available < LONGEST_INSTRUCTION &&
         nmc_decode_access(watch.decoder, bytes, LONGEST_INSTRUCTION, pc, decoded);
}

static bool last_decoded_is(const char *name) {
  return strncmp(nmc_mnemonic(watch.decoder), name, strlen(name)) == 0;
}

// Capstone 4 reports the operand of cmpxchg, and of a vector store, as read-only. So the error code
// decides whether the instruction writes. An instruction with two memory operands (movs) faults at
// each in turn, so a write counts as a read too only if one operand is both.
static void describe(uint64_t address, const void *context) {
  nmc_access decoded = {0};
  nul_access *access = &watch.step;
  *access = (nul_access){.address = address, .offset = address - watch.start,
                         .pc = npc_fault_pc(context),
                         .error_code = npc_fault_error_code(context)};
  bool known = decode_at(access->pc, &decoded) && decoded.width != 0;
  bool compares = known && last_decoded_is("lock cmpxchg");
  access->compare_failed = compares || (known && last_decoded_is("cmpxchg"));
  access->locked = decoded.locked || (known && last_decoded_is("xchg"));
  access->is_write = (access->error_code & FAULT_IS_WRITE) || (decoded.reads && decoded.writes);
  bool modifies = access->locked || access->compare_failed || (decoded.reads && decoded.writes);
  access->is_read = !access->is_write || modifies;
  uint64_t left = watch.end - address;
  access->width = decoded.width < left ? decoded.width : (uint8_t)left;
}

static uint64_t value_now(const nul_access *access) {
  uint64_t value = 0;
  size_t width = access->width < sizeof value ? access->width : sizeof value;
  memcpy(&value, (const void *)access->address, width);
  return value;
}

// While it steps, a thread takes only the signals that its instruction itself causes. Another
// signal handler would run with the pages open, and one that stops the machine would stop the
// thread so.
static void block_signals(ucontext_t *context) {
  static const int synchronous[] = {SIGSEGV, SIGBUS, SIGTRAP, SIGILL, SIGFPE};
  uint64_t mask = ~(uint64_t)0;
  for (size_t i = 0; i < sizeof synchronous / sizeof *synchronous; i++) {
    mask &= ~((uint64_t)1 << (synchronous[i] - 1));
  }
  // The kernel's signal mask is 8 bytes; the rest of glibc's type overlaps other data in this
  // frame.
  memcpy(&watch.interrupted_mask, &context->uc_sigmask, sizeof mask);
  memcpy(&context->uc_sigmask, &mask, sizeof mask);
}

static void end_step(ucontext_t *context) {
  protect(watch.closed);
  memcpy(&context->uc_sigmask, &watch.interrupted_mask, sizeof watch.interrupted_mask);
  npc_fault_single_step(context, false);
  watch.stepping = false;
  release();
}

static void keep(const nul_access *access) {
  count.faults++;
  count.reads += access->is_read;
  count.writes += access->is_write;
  count.unchanged_locked += access->locked && access->value_before == access->value_after;
  count.undecoded += access->width == 0;
  size_t index = logged_count;
  if (index == NUL_WATCH_LOG) {
    count.unlogged++;
    return;
  }
  logged[index] = *access;
  atomic_store(&logged_count, index + 1);
}

static bool begin_step(uint64_t address, ucontext_t *context) {
  describe(address, context);
  if (protect(watch.open) != 0) {
    count.refused++;
    return false;
  }
  nul_access *access = &watch.step;
  if (watch.hooks.before) watch.hooks.before(watch.hooks.context, access);
  access->value_before = value_now(access);
  block_signals(context);
  npc_fault_single_step(context, true);
  watch.stepping = true;
  return true;
}

// A thread that owns the watch takes no signal. Its handler might access watched pages and wait for
// the thread that it interrupted, or stop the machine for a thread that does.
static void take_unsignalled(int thread, sigset_t *before) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, before);
  int nobody = 0;
  while (!atomic_compare_exchange_weak(&watch.owner, &nobody, thread)) {
    nobody = 0;
    sched_yield();
  }
}

static void release_unsignalled(const sigset_t *before) {
  release();
  pthread_sigmask(SIG_SETMASK, before, NULL);
}

static bool on_fault(siginfo_t *info, ucontext_t *context) {
  uint64_t address = (uint64_t)info->si_addr;
  int thread = self();
  if (watch.owner == thread) {
    // The stepped instruction faults elsewhere. Another handler serves that fault, and finds the
    // thread as it was before. If the instruction runs again, it faults at the closed pages again.
    if (watch.stepping) end_step(context);
    return false;
  }
  if (!watched(address) || (npc_fault_error_code(context) & FAULT_IS_FETCH)) return false;
  sigset_t before;
  take_unsignalled(thread, &before);
  // If the watch ended while this thread waited, the access is tried again.
  bool ended = !watched(address);
  if (!ended && begin_step(address, context)) return true;
  release_unsignalled(&before);
  return ended;
}

static bool on_trap(siginfo_t *info, ucontext_t *context) {
  if (info->si_code != TRAP_TRACE || watch.owner != self() || !watch.stepping) return false;
  nul_access *access = &watch.step;
  access->value_after = value_now(access);
  bool equal = context->uc_mcontext.gregs[REG_EFL] & ZERO_FLAG;
  access->compare_failed = access->compare_failed && !equal;
  if (watch.hooks.after) watch.hooks.after(watch.hooks.context, access);
  keep(access);
  end_step(context);
  return true;
}

static bool handle(int signal, siginfo_t *info, void *context) {
  if (watch.start == watch.end && watch.owner == 0) return false;
  if (signal == SIGSEGV) return on_fault(info, context);
  return signal == SIGTRAP && on_trap(info, context);
}

static int prepare(void) {
  int failed = npc_faults_install();
  if (failed) return failed;
  if (!watch.decoder) watch.decoder = nmc_decoder_create(NULL);
  if (!watch.decoder) return ELIBACC;
  return npc_faults_add(handle);
}

static int start_owned(void *start, size_t length, int protection, nul_watch_hooks hooks) {
  if (watch.start != watch.end) return EBUSY;
  int failed = prepare();
  if (failed) return failed;
  memset(&count, 0, sizeof count);
  logged_count = 0;
  watch.hooks = hooks;
  watch.closed = protection;
  watch.open = PROT_READ | PROT_WRITE | (protection & PROT_EXEC);
  watch.start = (uint64_t)start;
  watch.end = (uint64_t)start + length;
  failed = protect(protection);
  if (failed) watch.end = watch.start;
  return failed;
}

int nul_watch_start(void *start, size_t length, int protection, nul_watch_hooks hooks) {
  if ((uint64_t)start % PAGE != 0 || length % PAGE != 0 || length == 0) return EINVAL;
  sigset_t before;
  take_unsignalled(self(), &before);
  int failed = start_owned(start, length, protection, hooks);
  release_unsignalled(&before);
  return failed;
}

int nul_watch_stop(int protection) {
  sigset_t before;
  take_unsignalled(self(), &before);
  int failed = watch.start == watch.end ? 0 : protect(protection);
  watch.end = watch.start;
  release_unsignalled(&before);
  return failed;
}

nul_watch_counts nul_watch_read_counts(void) {
  return (nul_watch_counts){
      .faults = count.faults,
      .reads = count.reads,
      .writes = count.writes,
      .unchanged_locked = count.unchanged_locked,
      .undecoded = count.undecoded,
      .refused = count.refused,
      .unlogged = count.unlogged,
  };
}

bool nul_watch_logged(size_t index, nul_access *access) {
  if (index >= logged_count) return false;
  *access = logged[index];
  return true;
}
