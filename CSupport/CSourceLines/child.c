// SPDX-License-Identifier: Apache-2.0
//
// A process that reads DWARF. It is forked, not started: it needs no program file of its own. It runs C
// code alone; glibc's malloc and loader may be used after a fork.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "source_lines.h"

/// Memory that it may use beyond what it has: decompressed sections and tables of lines.
enum { MOST_MEMORY = 1 << 30 };

uint64_t nsl_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// Writable memory of this process, in bytes; 0: not known.
static rlim_t data_bytes(void) {
  FILE *file = fopen("/proc/self/statm", "re");
  unsigned long long pages = 0;
  if (file == NULL) return 0;
  if (fscanf(file, "%*u %*u %*u %*u %*u %llu", &pages) != 1) pages = 0;
  fclose(file);
  return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

// Nothing of it outlives its parent, and its crash is seen by nobody else.
static void confine(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
  for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++) signal(fatal[i], SIG_DFL);
  struct rlimit core = {0, 0}, memory;
  setrlimit(RLIMIT_CORE, &core);
  getrlimit(RLIMIT_DATA, &memory);
  rlim_t most = data_bytes() + MOST_MEMORY;
  if (memory.rlim_cur > most) memory.rlim_cur = most;
  setrlimit(RLIMIT_DATA, &memory);
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int i = 0; i <= 2 && null >= 0; i++) dup2(null, i);
}

// Waits until the process has ended, and ends it then. False: it did not end by itself.
static bool wait_until(pid_t process, int end, uint64_t deadline) {
  struct pollfd wait = {.fd = end, .events = POLLIN};
  int ready = 0;
  for (uint64_t time; ready == 0 && (time = nsl_now()) < deadline;) {
    ready = poll(&wait, 1, (int)((deadline - time) / 1000000 + 1));
    if (ready < 0 && errno == EINTR) ready = 0;
  }
  kill(process, SIGKILL);
  int status = 0;
  while (waitpid(process, &status, 0) < 0 && errno == EINTR) {}
  return ready > 0;
}

nsl_result nsl_in_child(void (*work)(void *context), void *context, uint64_t deadline) {
  int ends[2];
  if (nsl_now() >= deadline) return NSL_NO_TIME;
  if (pipe2(ends, O_CLOEXEC) != 0) return NSL_NO_MEMORY;
  pid_t parent = getpid(), process = fork();
  if (process == 0) {
    close(ends[0]);
    confine(parent);
    work(context);
    _exit(0);
  }
  close(ends[1]);
  bool has_ended = process > 0 && wait_until(process, ends[0], deadline);
  close(ends[0]);
  return process < 0 ? NSL_NO_MEMORY : has_ended ? NSL_DONE : NSL_NO_TIME;
}
