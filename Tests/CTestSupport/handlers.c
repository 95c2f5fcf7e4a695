// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "handlers.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <ucontext.h>

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

int cts_install_handler(int signal, int kind) {
  struct sigaction action = {.sa_handler = kind == CTS_IGNORE ? SIG_IGN : SIG_DFL};
  if (kind == CTS_PLAIN_HANDLER) action.sa_handler = plain;
  if (kind == CTS_INFO_HANDLER) {
    action.sa_sigaction = with_info;
    action.sa_flags = SA_SIGINFO;
  }
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
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

void cts_own_fault(void) {
  if (sigsetjmp(behind, 1) == 0) *(volatile int *)8 = 1;
}

// Of the patch core, which shows it to nobody else.
bool npc_protocol_trap(int signal, siginfo_t *info, void *context);

bool cts_forged_trap(uint64_t pc, uint64_t *next) {
  siginfo_t info = {.si_signo = SIGTRAP, .si_code = SI_KERNEL};
  ucontext_t context = {0};
  context.uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
  bool claimed = npc_protocol_trap(SIGTRAP, &info, &context);
  *next = (uint64_t)context.uc_mcontext.gregs[REG_RIP];
  return claimed;
}
