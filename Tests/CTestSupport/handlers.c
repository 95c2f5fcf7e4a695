// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "handlers.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "faults.h"

static _Atomic uint64_t handled, last_place;
static _Atomic int last_code;
static sigjmp_buf behind;

static void plain(int signal) {
  handled++;
  if (signal == SIGSEGV) siglongjmp(behind, 1);
}

static void with_info(int signal, siginfo_t *info, void *context) {
  last_code = info->si_code;
  last_place = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] - 1;
  plain(signal);
}

static void unblock(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int cts_install_handler(int signal, int kind) {
  struct sigaction action = {.sa_handler = kind == CTS_IGNORE ? SIG_IGN : SIG_DFL};
  if (kind == CTS_PLAIN_HANDLER) action.sa_handler = plain;
  if (kind == CTS_INFO_HANDLER) {
    action.sa_sigaction = with_info;
    action.sa_flags = SA_SIGINFO;
  }
  if (kind == CTS_HANDLER_FOR_ONE) {
    action.sa_handler = plain;
    action.sa_flags = (int)SA_RESETHAND;
  }
  unblock(signal);
  return sigaction(signal, &action, NULL) == 0 ? 0 : errno;
}

uint64_t cts_signals_handled(void) { return handled; }
int cts_last_code(void) { return last_code; }
uint64_t cts_last_place(void) { return last_place; }

__attribute__((noinline)) uint64_t cts_own_int3(void) {
  uint64_t at;
  __asm__ volatile("leaq 1f(%%rip), %0\n1: int3" : "=r"(at)::"memory");
  return at;
}

static uint64_t interrupted_at;
static _Atomic uint64_t seen;

static void look_at_text(int signal) {
  (void)signal;
  seen = *(const uint64_t *)interrupted_at;
}

// The signal stays pending until the dispatcher returns, because the dispatcher blocks all signals.
static bool repair_and_signal(int signal, siginfo_t *info, void *context) {
  (void)context;
  uint64_t page = interrupted_at & ~4095ul;
  if (signal != SIGSEGV || interrupted_at == 0 || ((uint64_t)info->si_addr & ~4095ul) != page)
    return false;
  mprotect((void *)page, 4096, PROT_READ | PROT_EXEC);
  raise(SIGUSR1);
  return true;
}

int cts_interrupt_patcher(uint64_t site) {
  interrupted_at = site;
  struct sigaction action = {.sa_handler = look_at_text};
  if (sigaction(SIGUSR1, &action, NULL) != 0) return errno;
  unblock(SIGUSR1);
  return npc_faults_add(repair_and_signal);
}

uint64_t cts_text_seen_by_handler(void) { return seen; }

void cts_own_fault(void) {
  if (sigsetjmp(behind, 1) == 0) *(volatile int *)8 = 1;
}

// A function of the patch core that its headers do not declare.
bool npc_protocol_trap(int signal, siginfo_t *info, void *context);

bool cts_forged_trap(uint64_t pc, uint64_t *next) {
  siginfo_t info = {.si_signo = SIGTRAP, .si_code = SI_KERNEL};
  ucontext_t context = {0};
  context.uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
  bool claimed = npc_protocol_trap(SIGTRAP, &info, &context);
  *next = (uint64_t)context.uc_mcontext.gregs[REG_RIP];
  return claimed;
}
