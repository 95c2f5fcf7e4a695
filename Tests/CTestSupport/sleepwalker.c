// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "faults.h"
#include "sabotage.h"

struct cts_sleepwalker {
  pthread_t id;
  uint64_t run;
  int event;
  _Atomic bool asleep, awake, walked;
};

static cts_sleepwalker *_Atomic walker;

static bool real_time_signal_is_pending(void) {
  sigset_t pending;
  sigpending(&pending);
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++) {
    if (sigismember(&pending, signal)) return true;
  }
  return false;
}

// Runs with every signal blocked. Returns, as by a call, to the second nop, at the very moment at
// which the stop signal is waiting.
static void walk(int signal, siginfo_t *info, void *opaque) {
  (void)signal, (void)info;
  ucontext_t *context = opaque;
  greg_t *registers = context->uc_mcontext.gregs;
  cts_sleepwalker *self = walker;
  self->awake = true;
  while (!real_time_signal_is_pending()) {}
  registers[REG_RSP] -= 8;
  *(greg_t *)registers[REG_RSP] = registers[REG_RIP];
  registers[REG_RIP] = (greg_t)self->run + 1;
  self->walked = true;
}

static void walk_now(void) {
  register long result __asm__("rax") = SYS_tgkill;
  register long process __asm__("rdi") = getpid();
  register long thread __asm__("rsi") = syscall(SYS_gettid);
  register long signal __asm__("rdx") = SIGUSR1;
  result = SYS_tgkill;
  // The handler pushes a return address: past the red zone.
  __asm__ volatile("subq $128, %%rsp\n syscall\n addq $128, %%rsp"
                   : "+r"(result), "+r"(process), "+r"(thread), "+r"(signal)
                   : : "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
}

static void *sleep_and_walk(void *context) {
  cts_sleepwalker *self = context;
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, NULL);
  self->asleep = true;
  poll(&(struct pollfd){.fd = self->event, .events = POLLIN}, 1, -1);
  if (walker) walk_now();
  return NULL;
}

static void wake(cts_sleepwalker *self) {
  uint64_t one = 1;
  if (write(self->event, &one, sizeof one) < 0) abort();
}

// The patcher's second look has faulted: with the other threads stopped, and the walker asleep.
static bool repair_and_wake(int signal, siginfo_t *info, void *context) {
  (void)context;
  cts_sleepwalker *self = walker;
  uint64_t page = self ? self->run & ~4095ul : 0;
  if (signal != SIGSEGV || !self || ((uint64_t)info->si_addr & ~4095ul) != page) return false;
  mprotect((void *)page, 4096, PROT_READ | PROT_EXEC);
  wake(self);
  while (!self->awake) {}
  return true;
}

cts_sleepwalker *cts_sleepwalker_start(uint64_t run) {
  cts_sleepwalker *self = calloc(1, sizeof *self);
  if (self == NULL) return NULL;
  self->run = run;
  self->event = eventfd(0, EFD_CLOEXEC);
  struct sigaction action = {.sa_sigaction = walk, .sa_flags = SA_SIGINFO};
  sigfillset(&action.sa_mask);
  sigaction(SIGUSR1, &action, NULL);
  walker = self;
  if (npc_faults_add(repair_and_wake) != 0) abort();
  if (pthread_create(&self->id, NULL, sleep_and_walk, self) != 0) abort();
  while (!self->asleep) {}
  nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
  return self;
}

bool cts_sleepwalker_stop(cts_sleepwalker *self) {
  walker = self->awake ? self : NULL;
  wake(self);
  pthread_join(self->id, NULL);
  walker = NULL;
  bool walked = self->walked;
  close(self->event);
  free(self);
  return walked;
}
