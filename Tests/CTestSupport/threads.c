// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "threads.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stop.h"

struct cts_thread {
  int kind, event;
  pthread_t id;
  _Atomic int32_t thread;
  _Atomic bool stop, unblock, unblocked;
  _Atomic uint64_t count;
};

static void block(const cts_thread *self) {
  sigset_t set;
  sigemptyset(&set);
  if (self->kind == CTS_SPINS_BLOCKING || self->kind == CTS_SLEEPS_BLOCKING ||
      self->kind == CTS_SLEEPS_THEN_SPINS)
    sigfillset(&set);
  if (self->kind == CTS_SLEEPS_WITHOUT_TRAP) sigaddset(&set, SIGTRAP);
  pthread_sigmask(SIG_SETMASK, &set, NULL);
}

static void spin(cts_thread *self) {
  while (!self->stop) {
    if (!self->unblock || self->unblocked) continue;
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    self->unblocked = true;
  }
}

static void sleep_in(cts_thread *self) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event wanted = {.events = EPOLLIN};
  epoll_ctl(epoll, EPOLL_CTL_ADD, self->event, &wanted);
  while (!self->stop) {
    int status;
    if (self->kind == CTS_NAPS) status = nanosleep(&(struct timespec){.tv_sec = 1000}, NULL);
    else if (self->kind == CTS_WAITS) status = epoll_wait(epoll, &wanted, 1, -1);
    else status = poll(&(struct pollfd){.fd = self->event, .events = POLLIN}, 1, -1);
    if (status < 0 && errno == EINTR && !self->stop) self->count++;
  }
  close(epoll);
}

static void sleep_then_spin(cts_thread *self) {
  poll(&(struct pollfd){.fd = self->event, .events = POLLIN}, 1, -1);
  self->count++;
  spin(self);
}

static void nap(long nanoseconds) {
  nanosleep(&(struct timespec){.tv_nsec = nanoseconds}, NULL);
}

static void wait_in_vfork(cts_thread *self) {
  pid_t child = vfork();
  if (child == 0) {
    if (self->kind == CTS_VFORKS_BRIEFLY) nap(100 * 1000 * 1000);
    else while (!self->stop) syscall(SYS_sched_yield);
    _exit(0);
  }
  waitpid(child, NULL, 0);
}

static void spawn_all_the_time(cts_thread *self) {
  char name[] = "true", *arguments[] = {name, NULL};
  while (!self->stop) {
    pid_t child;
    if (posix_spawn(&child, "/bin/true", NULL, NULL, arguments, NULL) != 0) abort();
    waitpid(child, NULL, 0);
    self->count++;
  }
}

static void *end_at_once(void *context) { return context; }

static void churn(cts_thread *self) {
  while (!self->stop) {
    pthread_t id;
    if (pthread_create(&id, NULL, end_at_once, NULL) == 0) {
      pthread_join(id, NULL);
      self->count++;
    }
  }
}

int32_t cts_this_thread(void) { return (int32_t)syscall(SYS_gettid); }

static void *live(void *context) {
  cts_thread *self = context;
  block(self);
  self->thread = cts_this_thread();
  switch (self->kind) {
    case CTS_SPINS: case CTS_SPINS_BLOCKING: spin(self); break;
    case CTS_VFORKS: case CTS_VFORKS_BRIEFLY: wait_in_vfork(self); break;
    case CTS_SLEEPS_THEN_SPINS: sleep_then_spin(self); break;
    case CTS_SPAWNS: spawn_all_the_time(self); break;
    case CTS_CHURNS: churn(self); break;
    default: sleep_in(self);
  }
  return NULL;
}

static void interrupted(int signal) { (void)signal; }

void cts_wait_until_asleep(const _Atomic int32_t *thread, long number) {
  char path[64], text[256] = "";
  while (*thread == 0) nap(100000);
  snprintf(path, sizeof path, "/proc/self/task/%d/syscall", *thread);
  for (;;) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file < 0 || length < 0) abort();
    close(file);
    char *end;
    if (strtol(text, &end, 10) == number && end != text) return;
    nap(100000);
  }
}

// What a thread of this kind sleeps in; -1: it does not.
static long system_call_of(int kind) {
  switch (kind) {
    case CTS_POLLS:
    case CTS_SLEEPS_BLOCKING:
    case CTS_SLEEPS_THEN_SPINS:
    case CTS_SLEEPS_WITHOUT_TRAP: return SYS_poll;
    case CTS_NAPS: return SYS_clock_nanosleep;
    case CTS_WAITS: return SYS_epoll_wait;
    case CTS_VFORKS: case CTS_VFORKS_BRIEFLY: return SYS_vfork;
    default: return -1;
  }
}

cts_thread *cts_thread_start(int kind) {
  cts_thread *thread = calloc(1, sizeof *thread);
  if (thread == NULL) return NULL;
  thread->kind = kind;
  thread->event = eventfd(0, EFD_CLOEXEC);
  int error = pthread_create(&thread->id, NULL, live, thread);
  if (error) {
    close(thread->event);
    free(thread);
    errno = error;
    return NULL;
  }
  while (thread->thread == 0) nap(100000);
  long call = system_call_of(kind);
  if (call >= 0) cts_wait_until_asleep(&thread->thread, call);
  return thread;
}

int32_t cts_thread_id(const cts_thread *thread) { return thread->thread; }
uint64_t cts_thread_count(const cts_thread *thread) { return thread->count; }

void cts_thread_unblock(cts_thread *thread) {
  thread->unblock = true;
  while (!thread->unblocked) nap(100000);
}

static void wake(const cts_thread *thread) {
  uint64_t one = 1;
  if (write(thread->event, &one, sizeof one) < 0) abort();
}

// Functions of the patch core that its headers do not declare.
bool npc_stop_settle(npc_stop_report *report);
bool npc_stop_is_overdue(void);

bool cts_settles_too_late(cts_thread *sleeper, int32_t *named) {
  const npc_stop_request request = {.timeout_milliseconds = 4000};
  npc_stop_report report;
  npc_patch_lock();
  bool stopped = npc_stop_threads(&request, &report), settled = true;
  if (stopped) {
    while (!npc_stop_is_overdue()) nap(1000000);
    wake(sleeper);
    while (sleeper->count == 0) {}
    report = (npc_stop_report){0};
    settled = npc_stop_settle(&report);
    npc_resume_threads();
  }
  npc_patch_unlock();
  *named = report.thread;
  return stopped && !settled && report.error == ETIMEDOUT;
}

uint64_t cts_thread_stop(cts_thread *thread) {
  thread->stop = true;
  wake(thread);
  if (thread->kind == CTS_NAPS) {
    struct sigaction action = {.sa_handler = interrupted};
    sigaction(SIGUSR2, &action, NULL);
    pthread_kill(thread->id, SIGUSR2);
  }
  pthread_join(thread->id, NULL);
  uint64_t count = thread->count;
  close(thread->event);
  free(thread);
  return count;
}
