// SPDX-License-Identifier: Apache-2.0
//
// Disturbers: forks at any moment, SIGPROF, other namespaces, and libc's own loads.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <iconv.h>
#include <pwd.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"

extern char **environ;

// --- children -----------------------------------------------------------------------------------

// Runs in the child and only makes calls. The child's copy of the text is as it was at the fork.
static void call_all(csk_slot *slot) {
  int wrong = 0;
  for (size_t i = 0; i < CSK_FUNCTIONS; i++) wrong += !csk_check(slot, i, (int)i + 3);
  _exit(wrong);
}

static void wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  csk_note_child(status);
}

// A function of its own, so that no other code sees what the child does to the frame that it
// shares.
__attribute__((noinline)) static pid_t vfork_and_exec(void) {
  static char word[] = "true";
  static char *const words[] = {word, NULL};
  pid_t child = vfork();
  if (child == 0) {
    execve("/bin/true", words, environ);
    _exit(127);
  }
  return child;
}

bool csk_fork(csk_slot *slots, size_t index, csk_way way) {
  csk_slot *slot = &slots[index];
  if (!csk_enter(slot)) return false;
  pid_t child = way == CSK_VFORK      ? vfork_and_exec()
                : way == CSK_RAW_FORK ? (pid_t)syscall(SYS_fork)
                                      : fork();
  if (child == 0) call_all(slot);
  csk_leave(slot);
  if (child < 0) return false;
  wait_for(child);
  return true;
}

// --- signals ------------------------------------------------------------------------------------

static csk_slot *profiled;
static size_t profiled_count;
static _Atomic uint64_t profiling_signals;

static void on_profiling_signal(int number) {
  (void)number;
  int saved = errno;
  uint64_t turn = profiling_signals++;
  csk_slot *slot = &profiled[turn % profiled_count];
  if (csk_enter(slot)) {
    size_t index = turn / profiled_count % CSK_FUNCTIONS;
    csk_check(slot, index, (int)turn);
    // The last row, which workers do not use.
    slot->calls[CSK_MOST_WORKERS - 1][index]++;
    csk_leave(slot);
  }
  errno = saved;
}

static int set_timer(long microseconds) {
  struct itimerval timer = {{0, microseconds}, {0, microseconds}};
  return setitimer(ITIMER_PROF, &timer, NULL) == 0 ? 0 : errno;
}

int csk_profiling_start(csk_slot *slots, size_t count) {
  profiled = slots;
  profiled_count = count;
  struct sigaction action = {.sa_handler = on_profiling_signal, .sa_flags = SA_RESTART};
  if (sigaction(SIGPROF, &action, NULL) != 0) return errno;
  return set_timer(1000);
}

void csk_profiling_stop(void) { set_timer(0); }

uint64_t csk_profiling_signals(void) { return profiling_signals; }

// --- other loads --------------------------------------------------------------------------------

int csk_in_another_namespace(const char *path, int number) {
  void *library = dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
  if (library == NULL) return 1;
  csk_function *function = (csk_function *)dlsym(library, "f1");
  int problem = function == NULL ? 2 : function(5) != 5 * 2 + number ? 3 : 0;
  dlclose(library);
  return problem;
}

bool csk_let_libc_load(void) {
  iconv_t conversion = iconv_open("UTF-16", "ISO-8859-2");
  if (conversion != (iconv_t)-1) iconv_close(conversion);
  return getpwnam("root") != NULL && conversion != (iconv_t)-1;
}
