// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "storm.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct { cts_call *calls; size_t count; } call_list;

static call_list copy_of(const cts_call *calls, size_t count) {
  call_list copy = {malloc(count * sizeof *calls), count};
  if (copy.calls == NULL) abort();
  memcpy(copy.calls, calls, count * sizeof *calls);
  return copy;
}

static uint64_t make_calls(const call_list *list) {
  uint64_t wrong = 0;
  for (size_t i = 0; i < list->count; i++)
    wrong += list->calls[i].function(list->calls[i].argument) != list->calls[i].result;
  return wrong;
}

// --- signal handlers --------------------------------------------------------------------------------

struct cts_storm {
  pthread_t id;
  _Atomic bool stop;
  char stack[1 << 16];
};

static call_list in_handlers;
static _Atomic uint64_t handled, wrong;

static void handler(int signal) {
  (void)signal;
  int saved = errno;
  wrong += make_calls(&in_handlers);
  handled++;
  errno = saved;
}

static void *signal_oneself(void *context) {
  cts_storm *storm = context;
  stack_t alternate = {.ss_sp = storm->stack, .ss_size = sizeof storm->stack};
  sigaltstack(&alternate, NULL);
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, NULL);
  while (!storm->stop) raise(SIGUSR1);
  return NULL;
}

static void set_timer(int microseconds) {
  struct itimerval every = {{0, microseconds}, {0, microseconds}};
  setitimer(ITIMER_PROF, &every, NULL);
}

cts_storm *cts_storm_start(const cts_call *calls, size_t count) {
  in_handlers = copy_of(calls, count);
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART};
  sigfillset(&action.sa_mask);
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGPROF, &action, NULL);
  cts_storm *storm = calloc(1, sizeof *storm);
  if (storm == NULL) return NULL;
  int error = pthread_create(&storm->id, NULL, signal_oneself, storm);
  if (error) {
    free(storm);
    errno = error;
    return NULL;
  }
  set_timer(1000);
  return storm;
}

uint64_t cts_storm_handled(void) { return handled; }

uint64_t cts_storm_stop(cts_storm *storm) {
  set_timer(0);
  storm->stop = true;
  pthread_join(storm->id, NULL);
  free(storm);
  return wrong;
}

// --- children ---------------------------------------------------------------------------------------

struct cts_children {
  pthread_t id;
  int kind;
  call_list list;
  _Atomic bool stop;
  _Atomic uint64_t count, failures;
};

static bool ended_well(pid_t child) {
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return status == 0;
}

static pid_t raw_fork(const call_list *list) {
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(make_calls(list) != 0);
  return child;
}

static pid_t vforked(const call_list *list) {
  pid_t child = vfork();
  if (child == 0) _exit(make_calls(list) != 0);
  return child;
}

static void *make_children(void *context) {
  cts_children *all = context;
  while (!all->stop) {
    pid_t child = all->kind == CTS_VFORK ? vforked(&all->list) : raw_fork(&all->list);
    all->failures += child < 0 || !ended_well(child);
    all->count++;
  }
  return NULL;
}

cts_children *cts_children_start(const cts_call *calls, size_t count, int kind) {
  cts_children *all = calloc(1, sizeof *all);
  if (all == NULL) return NULL;
  all->kind = kind;
  all->list = copy_of(calls, count);
  if (pthread_create(&all->id, NULL, make_children, all) != 0) abort();
  return all;
}

uint64_t cts_children_count(const cts_children *children) { return children->count; }

uint64_t cts_children_stop(cts_children *all) {
  all->stop = true;
  pthread_join(all->id, NULL);
  uint64_t failures = all->failures;
  free(all->list.calls);
  free(all);
  return failures;
}
