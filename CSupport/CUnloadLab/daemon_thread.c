// SPDX-License-Identifier: Apache-2.0
//
// ftraced: the thread that wakes once a second and converts the sites recorded since.

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "daemon_internal.h"

static struct {
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t wake, cycled;  // on CLOCK_MONOTONIC
  uint64_t interval_microseconds;
  uint64_t started, completed;  // cycles
  bool woken, quit, running;
} ftraced = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct timespec after(uint64_t microseconds) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  uint64_t nanoseconds = (uint64_t)time.tv_nsec + microseconds % 1000000 * 1000;
  time.tv_sec += (time_t)(microseconds / 1000000 + nanoseconds / 1000000000);
  time.tv_nsec = (long)(nanoseconds % 1000000000);
  return time;
}

static void cycle(void) {
  npc_patch_lock();
  nul_page_spare();
  nul_lock();
  bool triggered = nul.triggered;
  nul_unlock();
  // On failure the trigger stays set, and the next cycle tries again.
  if (triggered && !nul.disabled && !nul.tracing && !nul.stopped) nul_convert_pending();
  npc_patch_unlock();
}

static void sleep_until_due(void) {
  struct timespec due = after(ftraced.interval_microseconds);
  int error = 0;
  while (!ftraced.woken && !ftraced.quit && error != ETIMEDOUT)
    error = pthread_cond_timedwait(&ftraced.wake, &ftraced.mutex, &due);
  ftraced.woken = false;
}

static void *ftraced_main(void *unused) {
  (void)unused;
  pthread_mutex_lock(&ftraced.mutex);
  for (;;) {
    sleep_until_due();
    if (ftraced.quit) break;
    ftraced.started++;
    pthread_mutex_unlock(&ftraced.mutex);
    cycle();
    pthread_mutex_lock(&ftraced.mutex);
    ftraced.completed = ftraced.started;
    pthread_cond_broadcast(&ftraced.cycled);
  }
  pthread_mutex_unlock(&ftraced.mutex);
  return NULL;
}

// Blocks the program's signals in this thread, but not faults and not the stop signal, a real-time
// one. The attaching thread may have every signal blocked (a worker of libdispatch), so the whole
// mask is set.
static void daemon_mask(sigset_t *mask) {
  static const int faults[] = {SIGSEGV, SIGBUS, SIGTRAP, SIGILL, SIGFPE, SIGABRT};
  sigemptyset(mask);
  for (int signal = 1; signal < 32; signal++) sigaddset(mask, signal);
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(mask, faults[i]);
}

int nul_thread_start(uint64_t interval_microseconds) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&ftraced.wake, &attributes);
  pthread_cond_init(&ftraced.cycled, &attributes);
  pthread_condattr_destroy(&attributes);
  ftraced.interval_microseconds = interval_microseconds;
  ftraced.started = ftraced.completed = 0;
  ftraced.woken = ftraced.quit = false;
  sigset_t mask, before;
  daemon_mask(&mask);
  pthread_sigmask(SIG_SETMASK, &mask, &before);
  int error = pthread_create(&ftraced.thread, NULL, ftraced_main, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  ftraced.running = error == 0;
  return error;
}

void nul_thread_stop(void) {
  if (!ftraced.running) return;
  pthread_mutex_lock(&ftraced.mutex);
  ftraced.quit = true;
  pthread_cond_signal(&ftraced.wake);
  pthread_cond_broadcast(&ftraced.cycled);
  pthread_mutex_unlock(&ftraced.mutex);
  pthread_join(ftraced.thread, NULL);
  ftraced.running = false;
  pthread_cond_destroy(&ftraced.wake);
  pthread_cond_destroy(&ftraced.cycled);
}

uint64_t nul_thread_cycles(void) {
  pthread_mutex_lock(&ftraced.mutex);
  uint64_t completed = ftraced.completed;
  pthread_mutex_unlock(&ftraced.mutex);
  return completed;
}

// A wake during a cycle is remembered, so the next cycle begins right after it.
bool nul_daemon_wait_cycle(uint32_t timeout_milliseconds, bool now) {
  struct timespec deadline = after((uint64_t)timeout_milliseconds * 1000);
  pthread_mutex_lock(&ftraced.mutex);
  uint64_t wanted = ftraced.started + 1;
  int error = ftraced.running ? 0 : EINVAL;
  if (now && ftraced.running) {
    ftraced.woken = true;
    pthread_cond_signal(&ftraced.wake);
  }
  while (ftraced.completed < wanted && error == 0 && !ftraced.quit)
    error = pthread_cond_timedwait(&ftraced.cycled, &ftraced.mutex, &deadline);
  bool done = ftraced.completed >= wanted;
  pthread_mutex_unlock(&ftraced.mutex);
  return done;
}
