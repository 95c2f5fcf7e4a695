// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "threads.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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
  if (self->kind == CTS_SPINS_DEAF || self->kind == CTS_SLEEPS_DEAF) sigfillset(&set);
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

static void wait_in_vfork(cts_thread *self) {
  pid_t child = vfork();
  if (child == 0) {
    while (!self->stop) syscall(SYS_sched_yield);
    _exit(0);
  }
  waitpid(child, NULL, 0);
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
    case CTS_SPINS: case CTS_SPINS_DEAF: spin(self); break;
    case CTS_VFORKS: wait_in_vfork(self); break;
    case CTS_CHURNS: churn(self); break;
    default: sleep_in(self);
  }
  return NULL;
}

static void interrupted(int signal) { (void)signal; }

static void nap(long nanoseconds) {
  nanosleep(&(struct timespec){.tv_nsec = nanoseconds}, NULL);
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
  nap(20 * 1000 * 1000);  // from its last instruction of ours into its system call
  return thread;
}

int32_t cts_thread_id(const cts_thread *thread) { return thread->thread; }
uint64_t cts_thread_count(const cts_thread *thread) { return thread->count; }

void cts_thread_unblock(cts_thread *thread) {
  thread->unblock = true;
  while (!thread->unblocked) nap(100000);
}

uint64_t cts_thread_stop(cts_thread *thread) {
  thread->stop = true;
  uint64_t one = 1;
  if (write(thread->event, &one, sizeof one) < 0) abort();
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
