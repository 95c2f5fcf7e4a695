// SPDX-License-Identifier: Apache-2.0
//
// The reading process. It is forked, not started: it needs no program file of its own. It runs C
// code alone; glibc's malloc and loader may be used after a fork.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "source_lines.h"

/// Memory that it may use beyond what it has: decompressed sections and tables of lines.
enum { MOST_MEMORY = 1 << 30 };

typedef struct request {
  const char *library;
  const nsl_module *modules;
  uint32_t count;
  nsl_shared *shared;
  pid_t parent;
} request;

static uint64_t now(void) {
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
static void confine(const request *request) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != request->parent) _exit(0);
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

static void read_all(const request *request, uint32_t first) {
  nsl_shared *shared = request->shared;
  nsl_dwarf dwarf;
  nsl_names *names = nsl_names_make(shared);
  confine(request);
  if (names == NULL) {
    shared->result = NSL_NO_MEMORY;
  } else if (!nsl_load_dwarf(request->library, &dwarf)) {
    shared->result = NSL_NO_LIBRARY;
  } else {
    nsl_line *lines = shared->lines;
    for (uint32_t i = 0; i < request->count; lines += request->modules[i++].count) {
      if (i < first) continue;
      shared->current = i;
      nsl_read_module(&dwarf, names, &request->modules[i], lines);
    }
    shared->result = NSL_DONE;
  }
  _exit(0);
}

// Waits until the process has ended, and ends it then. False: it did not end by itself.
static bool wait_until(pid_t process, int end, uint64_t deadline) {
  struct pollfd wait = {.fd = end, .events = POLLIN};
  int ready = 0;
  for (uint64_t time; ready == 0 && (time = now()) < deadline;) {
    ready = poll(&wait, 1, (int)((deadline - time) / 1000000 + 1));
    if (ready < 0 && errno == EINTR) ready = 0;
  }
  kill(process, SIGKILL);
  int status = 0;
  while (waitpid(process, &status, 0) < 0 && errno == EINTR) {}
  return ready > 0;
}

// Reads from a module on. False: a process cannot be made, or has no time left.
static bool run(const request *request, uint32_t first, uint64_t deadline) {
  int ends[2];
  nsl_shared *shared = request->shared;
  // What stays where the process is ended, or crashes.
  shared->result = NSL_NO_TIME;
  shared->current = first;
  if (now() >= deadline) return false;
  if (pipe2(ends, O_CLOEXEC) != 0) {
    shared->result = NSL_NO_MEMORY;
    return false;
  }
  pid_t process = fork();
  if (process == 0) {
    close(ends[0]);
    read_all(request, first);
  }
  if (process < 0) shared->result = NSL_NO_MEMORY;
  close(ends[1]);
  bool has_ended = process > 0 && wait_until(process, ends[0], deadline);
  close(ends[0]);
  return has_ended;
}

static void read_with_restarts(const request *request, uint64_t deadline, nsl_answer *answer) {
  for (uint32_t next = 0; run(request, next, deadline);) {
    if (request->shared->result != NSL_NO_TIME) return;
    // It has crashed, and the modules behind that one are read without it.
    answer->failures++;
    answer->failed = request->shared->current;
    next = request->shared->current + 1;
    if (next < request->count) continue;
    request->shared->result = NSL_DONE;
    return;
  }
}

nsl_result nsl_read(const char *library, const nsl_module *modules, uint32_t count,
                    uint64_t nanoseconds, nsl_answer *answer) {
  uint64_t deadline = now() + nanoseconds;
  size_t lines = 0;
  for (uint32_t i = 0; i < count; i++) lines += modules[i].count;
  *answer = (nsl_answer){.size = sizeof(nsl_shared) + lines * sizeof(nsl_line)};
  void *memory = mmap(NULL, answer->size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return NSL_NO_MEMORY;
  nsl_shared *shared = answer->memory = memory;
  const request request = {library, modules, count, shared, getpid()};
  read_with_restarts(&request, deadline, answer);
  shared->text[NSL_TEXT_BYTES - 1] = 0;
  answer->lines = shared->lines;
  answer->names = shared->names;
  answer->text = shared->text;
  answer->files = shared->files < NSL_MOST_FILES ? shared->files : NSL_MOST_FILES;
  answer->text_bytes =
      shared->text_bytes < NSL_TEXT_BYTES ? shared->text_bytes : NSL_TEXT_BYTES;
  return (nsl_result)shared->result;
}

void nsl_free(nsl_answer *answer) {
  if (answer->memory != NULL) munmap(answer->memory, answer->size);
  *answer = (nsl_answer){0};
}
