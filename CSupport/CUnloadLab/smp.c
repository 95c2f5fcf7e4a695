// SPDX-License-Identifier: Apache-2.0
//
// Shows why the kernel needed stop_machine: does the same writes while a thread runs the code, in a
// child process that may die of them. It also has the clock for `cost`.

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "CPatchCore.h"
#include "CUnloadLab.h"

enum { PAGE = 4096, GRACE_MILLISECONDS = 3000, CALLS_PER_COUNT = 16 };

// Shared with the parent, so that it outlives the child.
typedef struct smp_shared {
  _Atomic uint64_t flips, calls, started_nanoseconds;
  _Atomic int32_t error, result;
} smp_shared;

typedef struct smp_task {
  void (*function)(void);
  uint64_t ip;
  int32_t mode;
  uint32_t milliseconds;
  smp_shared *shared;
  _Atomic bool quit;
} smp_task;

static uint64_t nanoseconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Puts the calling thread on the n-th allowed processor, modulo their number, so that the two
// threads run side by side where there are two.
static void pin(int n) {
  cpu_set_t allowed, one;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  n %= CPU_COUNT(&allowed);
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &allowed) || n-- > 0) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
    return;
  }
}

static void *call_loop(void *context) {
  smp_task *task = context;
  pin(1);
  while (!atomic_load_explicit(&task->quit, memory_order_relaxed)) {
    for (int i = 0; i < CALLS_PER_COUNT; i++) task->function();
    atomic_fetch_add_explicit(&task->shared->calls, CALLS_PER_COUNT, memory_order_relaxed);
  }
  return NULL;
}

// Does one flip. The design without stopping was this and nothing more.
static int flip(const smp_task *task, const uint8_t *from, const uint8_t *to) {
  static const npc_stop_request request = {.wake_sleepers = true};
  npc_stop_report report;
  uint32_t found;
  if (task->mode == NUL_SMP_STOPPED && !npc_stop_threads(&request, &report)) {
    atomic_store(&task->shared->error, report.error ? report.error : ETIMEDOUT);
    return NUL_PATCH_FAULTED;
  }
  int result = nul_patch_code((uint8_t *)task->ip, from, to, &found);
  if (task->mode == NUL_SMP_STOPPED) npc_resume_threads();
  return result;
}

static void flip_loop(const smp_task *task) {
  static const uint8_t nop[NUL_SITE_LENGTH] = {0x0f, 0x1f, 0x44, 0x00, 0x00};
  uint8_t call[NUL_SITE_LENGTH];
  memcpy(call, (const void *)task->ip, sizeof call);
  uint64_t now = nanoseconds_now(), end = now + (uint64_t)task->milliseconds * 1000000;
  atomic_store(&task->shared->started_nanoseconds, now);
  for (bool is_nop = false; now < end; is_nop = !is_nop, now = nanoseconds_now()) {
    int result = flip(task, is_nop ? nop : call, is_nop ? call : nop);
    if (result != NUL_PATCH_DONE) {
      atomic_store(&task->shared->result, result);
      return;
    }
    atomic_fetch_add(&task->shared->flips, 1);
  }
}

// The child's crash is the result. So no handler of the parent's runtime may intercept it, and no
// core file is written.
static void die_plainly(void) {
  static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], SIG_DFL);
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  sigset_t nothing;  // the forking thread may have blocked all, the stop signal among them
  sigemptyset(&nothing);
  pthread_sigmask(SIG_SETMASK, &nothing, NULL);
}

static void run_child(smp_task *task) {
  uint64_t low = task->ip & ~(uint64_t)(PAGE - 1);
  uint64_t high = (task->ip + NUL_SITE_LENGTH + PAGE - 1) & ~(uint64_t)(PAGE - 1);
  pthread_t caller;
  int error = npc_patch_prepare();
  die_plainly();
  nul_mcount_set_mode(NUL_MCOUNT_OFF);
  if (!error && mprotect((void *)low, high - low, PROT_READ | PROT_WRITE | PROT_EXEC)) error = errno;
  if (!error) error = pthread_create(&caller, NULL, call_loop, task);
  if (error) {
    atomic_store(&task->shared->error, error);
    return;
  }
  pin(0);
  while (atomic_load(&task->shared->calls) == 0) sched_yield();
  npc_patch_lock();  // the stop requires it; here no other thread wants it
  flip_loop(task);
  npc_patch_unlock();
  atomic_store(&task->quit, true);
  pthread_join(caller, NULL);
}

// Polls, because no wait call has a time limit. The child is ours and is killed by its id.
static int await_child(pid_t child, uint32_t milliseconds, bool *timed_out) {
  uint64_t deadline = nanoseconds_now() + (uint64_t)milliseconds * 1000000;
  static const struct timespec millisecond = {.tv_nsec = 1000000};
  int status = 0;
  for (;;) {
    pid_t ended = waitpid(child, &status, *timed_out ? 0 : WNOHANG);
    if (ended == child || (ended < 0 && errno != EINTR)) return status;
    if (!*timed_out && nanoseconds_now() > deadline) {
      *timed_out = true;
      kill(child, SIGKILL);
    }
    nanosleep(&millisecond, NULL);
  }
}

static bool try_in_child(smp_task *task, nul_smp_result *result) {
  pid_t child = fork();
  if (child < 0) {
    result->error = errno;
    return false;
  }
  if (child == 0) {
    run_child(task);
    _exit(0);
  }
  int status = await_child(child, task->milliseconds + GRACE_MILLISECONDS, &result->timed_out);
  uint64_t started = atomic_load(&task->shared->started_nanoseconds);
  result->nanoseconds = started ? nanoseconds_now() - started : 0;
  result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  result->flips = atomic_load(&task->shared->flips);
  result->calls = atomic_load(&task->shared->calls);
  result->error = atomic_load(&task->shared->error);
  result->result = atomic_load(&task->shared->result);
  return result->error == 0;
}

bool nul_smp_experiment(void (*function)(void), uint64_t ip, int32_t mode, uint32_t milliseconds,
                        nul_smp_result *result) {
  *result = (nul_smp_result){0};
  if (*(const uint8_t *)ip != 0xe8 || (mode != NUL_SMP_UNSTOPPED && mode != NUL_SMP_STOPPED)) {
    result->error = EINVAL;
    return false;
  }
  smp_shared *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    result->error = errno;
    return false;
  }
  smp_task task = {.function = function, .ip = ip, .mode = mode, .milliseconds = milliseconds,
                   .shared = shared};
  bool tried = try_in_child(&task, result);
  munmap(shared, PAGE);
  return tried;
}

uint64_t nul_time_calls(void (*function)(void), uint64_t count) {
  uint64_t start = nanoseconds_now();
  for (uint64_t i = 0; i < count; i++) function();
  return nanoseconds_now() - start;
}
