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
#include <unistd.h>

#include "faults.h"
#include "sabotage.h"
#include "threads.h"
#include "walk.h"

struct cts_sleepwalker {
  pthread_t id;
  uint64_t run;
  int event;
  _Atomic int32_t thread;
  _Atomic bool awake, walked;
};

static cts_sleepwalker *_Atomic walker;

// Runs with every signal blocked. Returns, as by a call, to the second nop, at the very moment at
// which the stop signal is waiting.
static void walk(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  cts_sleepwalker *self = walker;
  self->awake = true;
  while (!cts_stop_is_pending()) {}
  cts_return_into(context, self->run + 1);
  self->walked = true;
}

static void *sleep_and_walk(void *context) {
  cts_sleepwalker *self = context;
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, NULL);
  self->thread = cts_this_thread();
  poll(&(struct pollfd){.fd = self->event, .events = POLLIN}, 1, -1);
  if (walker) cts_signal_itself(SIGUSR1);
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

static void wake_walker(void) {
  wake(walker);
  while (!walker->awake) {}
}

cts_sleepwalker *cts_sleepwalker_start(uint64_t run, bool at_read_back) {
  cts_sleepwalker *self = calloc(1, sizeof *self);
  if (self == NULL) return NULL;
  self->run = run;
  self->event = eventfd(0, EFD_CLOEXEC);
  struct sigaction action = {.sa_sigaction = walk, .sa_flags = SA_SIGINFO};
  sigfillset(&action.sa_mask);
  sigaction(SIGUSR1, &action, NULL);
  walker = self;
  if (at_read_back) cts_at_read_back(wake_walker);
  else if (npc_faults_add(repair_and_wake) != 0) abort();
  if (pthread_create(&self->id, NULL, sleep_and_walk, self) != 0) abort();
  cts_wait_until_asleep(&self->thread, SYS_poll);
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
