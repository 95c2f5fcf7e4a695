// SPDX-License-Identifier: Apache-2.0
//
// stop-machine. Steps:
//   1. Read the list of threads. A running thread gets a queued real-time signal that carries the
//      number of its slot. A thread that sleeps in a system call is left asleep (unless the request
//      says otherwise); /proc/self/task/TID/syscall shows its SP.
//   2. Each signal handler stores the address of its context and parks on a futex.
//   3. Read the list again, until it contains no new thread.
//   4. Wait, for a bounded time, for the signalled threads. Drop those that ended meanwhile. Where
//      the queue of signals was full (RLIMIT_SIGPENDING), send the signal again.
// A sleeper may wake at any time. So a caller that writes text must first write leads that are safe
// for a thread that wakes and runs into one. Then it must call npc_stop_settle, which stops the
// threads that woke.

#define _GNU_SOURCE
#include "stop.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "internal.h"
#include "task_list.h"

enum { SIGNALLED = 1, PARKED = 2, ASLEEP = 3, GONE = 4, UNSENT = 5 };

typedef struct stop_slot {
  int32_t thread;
  _Atomic int32_t state;
  ucontext_t *context;  // of a parked thread
  uint64_t sp;          // of a sleeper
  int64_t system_call;
} stop_slot;

// Guarded by the patch lock, except what the handlers write into their own slots.
static stop_slot slots[NPC_STOP_MAX_THREADS];
static uint32_t slot_count;
static npc_stop_request current;
static struct timespec deadline;

static _Atomic uint32_t epoch;     // of the current stop; a late signal carries an older one
static _Atomic uint32_t released;  // the last epoch that was released; parked threads wait on it
static _Atomic uint32_t arrivals;  // futex of the stopper
static _Atomic uint32_t entering;  // handlers between their check of the epoch and their last write
static int stop_signal;

static long futex(_Atomic uint32_t *word, int operation, uint32_t value,
                  const struct timespec *timeout) {
  return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

static void serialise(void) {
  uint32_t a = 0, b, c = 0, d;
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d)::"memory");
}

static void park(int signal, siginfo_t *info, void *context) {
  (void)signal;
  uint64_t cookie = (uint64_t)info->si_value.sival_ptr;
  uint32_t mine = (uint32_t)(cookie >> 32), index = (uint32_t)cookie;
  if (info->si_code != SI_QUEUE || info->si_pid != getpid()) return;
  if (index >= NPC_STOP_MAX_THREADS) return;
  int saved = errno;
  atomic_fetch_add(&entering, 1);
  bool late = mine != atomic_load(&epoch) || mine == atomic_load(&released);
  if (!late) {
    slots[index].context = context;
    atomic_store(&slots[index].state, PARKED);
    atomic_fetch_add(&arrivals, 1);
  }
  atomic_fetch_sub(&entering, 1);
  if (late) return;
  futex(&arrivals, FUTEX_WAKE, 1, NULL);
  uint32_t seen;
  // Reached or passed: a stop that failed may have been released while this thread still slept.
  while ((int32_t)((seen = atomic_load(&released)) - mine) < 0)
    futex(&released, FUTEX_WAIT, seen, NULL);
  serialise();
  errno = saved;
}

void npc_stop_begin_child(void) { atomic_store(&entering, 0); }

int npc_stop_prepare(void) {
  if (stop_signal != 0) return 0;
  for (int signal = SIGRTMAX; signal >= SIGRTMIN; signal--) {
    struct sigaction old;
    if (sigaction(signal, NULL, &old) != 0) return errno;
    if (old.sa_handler != SIG_DFL) continue;
    // While the thread is parked, nothing else may run on it, so the handler blocks every signal.
    struct sigaction action = {.sa_sigaction = park,
                               .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    if (sigaction(signal, &action, NULL) != 0) return errno;
    stop_signal = signal;
    return npc_sync_cores();
  }
  return EAGAIN;
}

int npc_sync_cores(void) {
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) == 0) return 0;
  if (errno != EPERM) return errno;
  // The process is not registered yet, or it is a forked child, which does not inherit that.
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) != 0)
    return errno;
  return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) == 0 ? 0 : errno;
}

// True if the thread sleeps in a system call.
static bool is_asleep(int tasks, stop_slot *slot) {
  npc_task_sleep sleep;
  if (!npc_task_sleeps(tasks, slot->thread, &sleep)) return false;
  // The stop before has parked and released this thread, and it has not woken yet: it is about to
  // return to its code.
  if (sleep.system_call == SYS_futex && sleep.first_argument == (uint64_t)&released) return false;
  slot->system_call = sleep.system_call;
  slot->sp = sleep.sp;
  return true;
}

// The slot's state is SIGNALLED already. Where the queue of signals is full it becomes UNSENT, unless
// the thread has parked meanwhile by a signal of this stop that was pending.
static void signal_thread(uint32_t index) {
  stop_slot *slot = &slots[index];
  siginfo_t info = {.si_signo = stop_signal, .si_code = SI_QUEUE};
  info.si_pid = getpid();
  info.si_uid = getuid();
  info.si_value.sival_ptr = (void *)((uint64_t)atomic_load(&epoch) << 32 | index);
  long status = syscall(SYS_rt_tgsigqueueinfo, getpid(), slot->thread, stop_signal, &info);
  if (status == 0) return;
  int32_t signalled = SIGNALLED;
  if (errno == ESRCH) atomic_store(&slot->state, GONE);
  else if (errno == EAGAIN) atomic_compare_exchange_strong(&slot->state, &signalled, UNSENT);
}

// Whether the thread sleeps with the stop signal blocked, so that the signal cannot wake it.
// (libdispatch's idle workers block every signal.) It is left asleep and checked again like every
// sleeper.
static bool sleeps_with_signal_blocked(int tasks, stop_slot *slot) {
  return is_asleep(tasks, slot) && npc_task_blocks(tasks, slot->thread, stop_signal) == 1;
}

// Of a thread that is new or UNSENT. Compares and exchanges, as signal_thread does.
static void classify(int tasks, uint32_t index) {
  stop_slot *slot = &slots[index];
  int32_t before = atomic_load(&slot->state);
  if (before == PARKED) return;
  bool sleeps =
      current.wake_sleepers ? sleeps_with_signal_blocked(tasks, slot) : is_asleep(tasks, slot);
  if (atomic_compare_exchange_strong(&slot->state, &before, sleeps ? ASLEEP : SIGNALLED) && !sleeps)
    signal_thread(index);
}

static bool is_known(int32_t thread) {
  for (uint32_t i = 0; i < slot_count; i++) {
    if (slots[i].thread == thread && atomic_load(&slots[i].state) != GONE) return true;
  }
  return false;
}

// A main thread that has called pthread_exit stays in the list until the process ends. No other
// thread does.
static bool has_ended(int tasks, int32_t thread) {
  return thread == getpid() && npc_task_is_zombie(tasks, thread);
}

static int add_if_new(int tasks, int32_t thread, void *found) {
  if (thread == (int32_t)syscall(SYS_gettid) || is_known(thread)) return 0;
  if (has_ended(tasks, thread)) return 0;
  if (slot_count == NPC_STOP_MAX_THREADS) {
    errno = EAGAIN;
    return -1;
  }
  slots[slot_count] = (stop_slot){.thread = thread};
  classify(tasks, slot_count++);
  ++*(int *)found;
  return 0;
}

static bool is_past(const struct timespec *time) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec > time->tv_sec || (now.tv_sec == time->tv_sec && now.tv_nsec >= time->tv_nsec);
}

// The slot of a thread that is to be stopped and has not parked yet; slot_count: there is none.
static uint32_t find_missing(void) {
  for (uint32_t i = 0; i < slot_count; i++) {
    int32_t state = atomic_load(&slots[i].state);
    if (state == SIGNALLED || state == UNSENT) return i;
  }
  return slot_count;
}

static void send_unsent(int tasks) {
  for (uint32_t i = 0; i < slot_count; i++) {
    if (atomic_load(&slots[i].state) == UNSENT) classify(tasks, i);
  }
}

// A thread that ended after it was signalled never parks. Nor does one that went to sleep with the
// signal blocked. Its state is set by compare and exchange, because it may still unblock the signal
// and park.
static void look_again_at(int tasks, stop_slot *slot) {
  int32_t signalled = SIGNALLED;
  if ((syscall(SYS_tgkill, getpid(), slot->thread, 0) != 0 && errno == ESRCH) ||
      has_ended(tasks, slot->thread))
    atomic_store(&slot->state, GONE);
  else if (sleeps_with_signal_blocked(tasks, slot))
    atomic_compare_exchange_strong(&slot->state, &signalled, ASLEEP);
}

static bool wait_for_all(int tasks, npc_stop_report *report) {
  const struct timespec look_again = {.tv_nsec = 2 * 1000 * 1000};
  for (bool has_waited = false;; has_waited = true) {
    uint32_t seen = atomic_load(&arrivals);
    uint32_t missing = find_missing();
    if (missing == slot_count) return true;
    if (is_past(&deadline)) {
      // A search of the stacks may end late: then this thread had no time to answer.
      report->thread = has_waited ? slots[missing].thread : 0;
      report->error = atomic_load(&slots[missing].state) == UNSENT ? EAGAIN : ETIMEDOUT;
      return false;
    }
    futex(&arrivals, FUTEX_WAIT, seen, &look_again);
    send_unsent(tasks);
    if (atomic_load(&slots[missing].state) == SIGNALLED) look_again_at(tasks, &slots[missing]);
  }
}

static void count(npc_stop_report *report) {
  report->stopped = report->asleep = 0;
  for (uint32_t i = 0; i < slot_count; i++) {
    int state = atomic_load(&slots[i].state);
    report->stopped += state == PARKED;
    report->asleep += state == ASLEEP;
  }
}

// Stops the threads that are new and those that woke, until a pass finds none of either.
static bool settle(int tasks, npc_stop_report *report) {
  report->woken = 0;
  for (;;) {
    int changed = 0;
    if (npc_tasks_each(tasks, add_if_new, &changed) != 0) {
      report->error = errno;
      return false;
    }
    for (uint32_t i = 0; i < slot_count; i++) {
      if (atomic_load(&slots[i].state) != ASLEEP || is_asleep(tasks, &slots[i])) continue;
      // It may have parked by itself, by a signal of this stop that was pending: then PARKED stays.
      int32_t asleep = ASLEEP;
      if (atomic_compare_exchange_strong(&slots[i].state, &asleep, SIGNALLED)) signal_thread(i);
      changed++;
    }
    if (!wait_for_all(tasks, report)) return false;
    report->woken += (uint32_t)changed;
    if (changed == 0) break;
  }
  count(report);
  return true;
}

bool npc_stop_is_overdue(void) { return !npc_outside_is_used() && is_past(&deadline); }

bool npc_stop_settle(npc_stop_report *report) {
  if (npc_outside_is_used()) return npc_outside_settle(report);
  int tasks = npc_tasks_open();
  if (tasks < 0) {
    report->error = errno;
    return false;
  }
  bool settled = settle(tasks, report);
  close(tasks);
  return settled;
}

bool npc_stop_threads(const npc_stop_request *request, npc_stop_report *report) {
  if (npc_outside_is_used()) return npc_outside_stop(request, report);
  *report = (npc_stop_report){0};
  current = *request;
  uint32_t milliseconds = request->timeout_milliseconds ? request->timeout_milliseconds : 1000;
  clock_gettime(CLOCK_MONOTONIC, &deadline);
  deadline.tv_nsec += (long)(milliseconds % 1000) * 1000000;
  deadline.tv_sec += milliseconds / 1000 + deadline.tv_nsec / 1000000000;
  deadline.tv_nsec %= 1000000000;
  atomic_fetch_add(&epoch, 1);
  // A thread that the previous stop gave up may still be writing into its slot, which another
  // thread is about to get. Its handler takes no lock there, so this wait ends.
  while (atomic_load(&entering) != 0) sched_yield();
  slot_count = 0;
  if (npc_stop_settle(report)) return true;
  npc_resume_threads();
  return false;
}

void npc_resume_threads(void) {
  if (npc_outside_is_used()) {
    npc_outside_resume();
    return;
  }
  atomic_store(&released, atomic_load(&epoch));
  futex(&released, FUTEX_WAKE, INT32_MAX, NULL);
}

void npc_stop_each(bool (*visit)(const npc_stopped *thread, void *context), void *context) {
  if (npc_outside_is_used()) {
    npc_outside_each(visit, context);
    return;
  }
  for (uint32_t i = 0; i < slot_count; i++) {
    int state = atomic_load(&slots[i].state);
    npc_stopped stopped = {.thread = slots[i].thread, .sp = slots[i].sp};
    if (state == PARKED) {
      greg_t *registers = slots[i].context->uc_mcontext.gregs;
      stopped.pc = (uint64_t *)&registers[REG_RIP];
      stopped.sp = (uint64_t)registers[REG_RSP];
    }
    if ((state == PARKED || state == ASLEEP) && !visit(&stopped, context)) return;
  }
}

int32_t npc_stop_find_vfork(void) {
  if (npc_outside_is_used()) return npc_outside_find_vfork();
  for (uint32_t i = 0; i < slot_count; i++) {
    int64_t number = slots[i].system_call;
    if (atomic_load(&slots[i].state) == ASLEEP &&
        (number == SYS_vfork || number == SYS_clone || number == SYS_clone3))
      return slots[i].thread;
  }
  return 0;
}

typedef struct { int signal; bool asleep_only; } blocking_query;

static int blocks_in_query(int tasks, int32_t thread, void *context) {
  const blocking_query *query = context;
  if (query->asleep_only) {
    uint32_t i = 0;
    while (i < slot_count &&
           (slots[i].thread != thread || atomic_load(&slots[i].state) != ASLEEP)) i++;
    if (i == slot_count) return 0;
  }
  int status = npc_task_blocks(tasks, thread, query->signal);
  return status > 0 ? thread : status;
}

int32_t npc_stop_find_blocking(int signal, bool asleep_only) {
  int tasks = npc_tasks_open();
  if (tasks < 0) return -errno;
  blocking_query query = {signal, asleep_only};
  errno = 0;
  int found = npc_tasks_each(tasks, blocks_in_query, &query);
  if (found == -1 && errno != 0) found = -errno;  // the list itself could not be read
  close(tasks);
  return found;
}
