// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "faults.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "internal.h"

enum { MAX_HANDLERS = 8, MAX_FIXUPS = 16 };

static const int signals[] = {SIGSEGV, SIGBUS, SIGTRAP};
enum { SIGNALS = sizeof signals / sizeof signals[0] };

// Written only by set-up functions. A signal handler may run meanwhile, so the entry is written
// first, then the count.
static npc_fault_handler handlers[MAX_HANDLERS];
static struct { uint64_t at, landing; } fixups[MAX_FIXUPS];
static _Atomic int handler_count, fixup_count;
static struct sigaction previous[SIGNALS];
static _Atomic bool spent[SIGNALS];  // SA_RESETHAND: the handler was called once
static _Atomic bool installed;

static greg_t *registers(const void *context) {
  return ((ucontext_t *)(uintptr_t)context)->uc_mcontext.gregs;
}
uint64_t npc_fault_error_code(const void *context) { return (uint64_t)registers(context)[REG_ERR]; }
uint64_t npc_fault_pc(const void *context) { return (uint64_t)registers(context)[REG_RIP]; }
void npc_fault_set_pc(void *context, uint64_t pc) { registers(context)[REG_RIP] = (greg_t)pc; }
void npc_fault_single_step(void *context, bool on) {
  const greg_t trap_flag = 1 << 8;
  if (on) registers(context)[REG_EFL] |= trap_flag;
  else registers(context)[REG_EFL] &= ~trap_flag;
}

static bool land(void *context) {
  uint64_t pc = npc_fault_pc(context);
  int count = atomic_load_explicit(&fixup_count, memory_order_acquire);
  for (int i = 0; i < count; i++) {
    if (fixups[i].at == pc) {
      npc_fault_set_pc(context, fixups[i].landing);
      return true;
    }
  }
  return false;
}

static void to_default(int signal, const siginfo_t *info) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  sigaction(signal, &action, NULL);
  // A fault happens again, with its own siginfo, when its instruction runs again. A trap does not,
  // nor does a signal that a process sent.
  if (signal == SIGTRAP || info->si_code <= 0) raise(signal);
}

// The mask that the program's own handler would have been called with.
static void set_mask_of(const struct sigaction *old, int signal, const void *context) {
  sigset_t mask = ((const ucontext_t *)context)->uc_sigmask;
  sigorset(&mask, &mask, &old->sa_mask);
  if (!(old->sa_flags & SA_NODEFER)) sigaddset(&mask, signal);
  pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static void chain(int index, int signal, siginfo_t *info, void *context) {
  const struct sigaction *old = &previous[index];
  if (old->sa_flags & (int)SA_RESETHAND && old->sa_handler != SIG_IGN &&
      atomic_exchange(&spent[index], true)) {
    to_default(signal, info);
    return;
  }
  set_mask_of(old, signal, context);
  if (old->sa_flags & SA_SIGINFO) {
    old->sa_sigaction(signal, info, context);
  } else if (old->sa_handler == SIG_DFL || (old->sa_handler == SIG_IGN && info->si_code > 0)) {
    to_default(signal, info);
  } else if (old->sa_handler != SIG_IGN) {
    old->sa_handler(signal);
  }
}

static void dispatch(int signal, siginfo_t *info, void *context) {
  int saved = errno;
  bool claimed = false;
  if (info->si_code > 0) {  // raised by the CPU, not by kill(2)
    int count = atomic_load_explicit(&handler_count, memory_order_acquire);
    while (!claimed && count-- > 0) claimed = handlers[count](signal, info, context);
    if (!claimed && signal != SIGTRAP) claimed = land(context);
  }
  for (int i = 0; !claimed && i < SIGNALS; i++) {
    if (signals[i] == signal) chain(i, signal, info, context);
  }
  errno = saved;
}

static int add_own_fixups(void) {
  static const struct { const char *at, *landing; } own[] = {
    {npc_read_word_at, npc_read_landing}, {npc_read_byte_at, npc_read_landing},
    {npc_write_byte_at, npc_write_landing}, {npc_write_pair_at, npc_write_landing},
    {npc_swap_word_at, npc_write_landing},
    {npc_read_site_word_at, npc_read_site_landing},
    {npc_read_site_fifth_at, npc_read_site_landing},
    {npc_read_site_sixth_at, npc_read_site_landing},
  };
  for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
    int error = npc_faults_add_fixup(own[i].at, own[i].landing);
    if (error) return error;
  }
  return 0;
}

bool npc_faults_owns(int signal) {
  struct sigaction current;
  return sigaction(signal, NULL, &current) == 0 && current.sa_flags & SA_SIGINFO &&
         current.sa_sigaction == dispatch;
}

int npc_faults_install(void) {
  if (installed) return 0;
  if (fixup_count == 0) {
    int error = add_own_fixups();
    if (error) return error;
  }
  // SA_ONSTACK: the fault may be a stack overflow of the program's, which must still reach its
  // handler.
  struct sigaction action = {.sa_sigaction = dispatch, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  // No other handler may interrupt this one: if that handler faulted while SIGSEGV is blocked, the
  // process would die. The CPU raises faults, so they cannot be postponed.
  sigfillset(&action.sa_mask);
  static const int faults[] = {SIGSEGV, SIGBUS, SIGTRAP, SIGILL, SIGFPE, SIGSYS};
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
    sigdelset(&action.sa_mask, faults[i]);
  for (int i = 0; i < SIGNALS; i++) {
    if (sigaction(signals[i], &action, &previous[i]) != 0) return errno;
  }
  installed = true;
  return 0;
}

bool npc_faults_are_caught(void) {
  return installed && npc_faults_owns(SIGSEGV) && npc_faults_owns(SIGBUS);
}

int npc_faults_add(npc_fault_handler handler) {
  int count = handler_count;
  for (int i = 0; i < count; i++) {
    if (handlers[i] == handler) return 0;
  }
  if (count == MAX_HANDLERS) return ENOSPC;
  handlers[count] = handler;
  atomic_store_explicit(&handler_count, count + 1, memory_order_release);
  return 0;
}

int npc_faults_add_fixup(const void *at, const void *landing) {
  int count = fixup_count;
  for (int i = 0; i < count; i++) {
    if (fixups[i].at == (uint64_t)at) return 0;
  }
  if (count == MAX_FIXUPS) return ENOSPC;
  fixups[count].at = (uint64_t)at;
  fixups[count].landing = (uint64_t)landing;
  atomic_store_explicit(&fixup_count, count + 1, memory_order_release);
  return 0;
}
