// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "moments.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "poke.h"
#include "stop.h"
#include "threads.h"
#include "walk.h"

// --- the patcher's system calls
// -------------------------------------------------------------------

// As the kernel has it: the handler, the flags, the restorer, the mask.
typedef struct { uint64_t words[4]; } kernel_action;
enum { KERNELS_SIGNALS = 64 };
static kernel_action actions[KERNELS_SIGNALS];

static void (*at_close)(int file);
static void (*at_query)(void);

// close itself is trapped.
static long close_untrapped(int file) { return syscall(SYS_close_range, file, file, 0); }

static void trapped(int signal, siginfo_t *info, void *context) {
  (void)signal;
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  if (info->si_syscall == SYS_close) {
    int file = (int)registers[REG_RDI];
    at_close(file);
    registers[REG_RAX] = close_untrapped(file);
  } else {
    at_query();
    memcpy((void *)registers[REG_RDX], &actions[registers[REG_RDI] - 1], sizeof(kernel_action));
    registers[REG_RAX] = 0;
  }
}

static bool filter(struct sock_filter *code, unsigned short length) {
  struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
  struct sock_fprog program = {length, code};
  return sigaction(SIGSYS, &action, NULL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

static bool trap_close(void) {
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  return filter(code, sizeof code / sizeof code[0]);
}

static bool trap_queries(void) {
  for (int signal = 1; signal <= KERNELS_SIGNALS; signal++)
    syscall(SYS_rt_sigaction, signal, NULL, &actions[signal - 1], 8);
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigaction, 0, 5),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1]) + 4),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  return filter(code, sizeof code / sizeof code[0]);
}

static bool sleeps_in(int32_t thread, long number) {
  char path[64], text[64] = "";
  snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0 || read(file, text, sizeof text - 1) < 0) abort();
  close_untrapped(file);
  char *end;
  return strtol(text, &end, 10) == number && end != text;
}

static void wait_until_parked(int32_t thread) {
  while (!sleeps_in(thread, SYS_futex)) {}
}

// --- a thread that parks in the middle of a look
// --------------------------------------------------

static struct {
  int moment, event;
  _Atomic int32_t thread;
  _Atomic bool is_awake, may_park;
} sleeper;

static void *sleep_with_pending(void *context) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL);
  sleeper.thread = cts_this_thread();
  while (!cts_stop_is_pending()) {}
  poll(&(struct pollfd){.fd = sleeper.event, .events = POLLIN}, 1, -1);
  sleeper.is_awake = true;
  while (!sleeper.may_park) {}
  sigemptyset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL);  // it parks here
  return context;
}

static void wake(int event) {
  uint64_t one = 1;
  if (write(event, &one, sizeof one) < 0) abort();
}

static void let_park(void) {
  sleeper.may_park = true;
  wait_until_parked(sleeper.thread);
}

static bool is_sleepers(int file, const char *leaf) {
  char link[64], path[128] = "", end[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  if (readlink(link, path, sizeof path - 1) < 0) return false;
  int length = snprintf(end, sizeof end, "/task/%d/%s", sleeper.thread, leaf);
  size_t whole = strlen(path);
  return whole > (size_t)length && strcmp(path + whole - length, end) == 0;
}

// The patcher has read one of the thread's files.
static void look_at_close(int file) {
  if (!sleeper.is_awake && is_sleepers(file, "status")) {
    wake(sleeper.event);
    while (!sleeper.is_awake) {}
    if (sleeper.moment == CTS_PARKS_AT_LOOK) let_park();
  } else if (sleeper.is_awake && !sleeper.may_park && is_sleepers(file, "syscall")) {
    let_park();
  }
}

static void *stop_all(void *context) {
  const npc_stop_request request = {.timeout_milliseconds = 10000};
  npc_stop_report report;
  at_close = look_at_close;
  if (!trap_close()) return NULL;
  npc_patch_lock();
  bool stopped = npc_stop_threads(&request, &report);
  if (stopped) npc_resume_threads();
  npc_patch_unlock();
  return stopped && sleeper.may_park ? context : NULL;
}

bool cts_stops_while_one_parks(int moment) {
  pthread_t thread, patcher;
  sleeper.moment = moment;
  sleeper.event = eventfd(0, EFD_CLOEXEC);
  sleeper.thread = 0;
  sleeper.is_awake = sleeper.may_park = false;
  if (pthread_create(&thread, NULL, sleep_with_pending, NULL) != 0) return false;
  while (sleeper.thread == 0) {}
  void *result = NULL;
  if (pthread_create(&patcher, NULL, stop_all, &sleeper) != 0) return false;
  pthread_join(patcher, &result);
  sleeper.may_park = true;
  wake(sleeper.event);
  pthread_join(thread, NULL);
  close(sleeper.event);
  return result != NULL;
}

// --- a thread that parks between two steps
// --------------------------------------------------------

static struct {
  cts_stander *stander;
  int count;
  bool is_over;
} woken;

static void look_at_query(void) {
  int32_t thread = cts_stander_thread(woken.stander);
  if (woken.is_over || !sleeps_in(thread, SYS_poll) || --woken.count > 0) return;
  cts_stander_wake(woken.stander);
  wait_until_parked(thread);
  woken.is_over = true;
}

bool cts_wake_at_query(cts_stander *stander, int count) {
  woken.stander = stander;
  woken.count = count;
  at_query = look_at_query;
  return trap_queries();
}

bool cts_query_has_woken(void) { return woken.is_over; }
