// SPDX-License-Identifier: Apache-2.0
//
// Preloaded into `nopscope record` and the program that it starts. It notes when each of them
// reaches a point that every start passes. MARKS_FILE names a file of 16 numbers, nanoseconds of
// the monotonic clock. MARKS_RECORDER and MARKS_PROGRAM name the two executables.
// scripts/lib/bench_start.py explains the phases between the points. nopscope puts its agent before
// this library in LD_PRELOAD, so the agent has joined when this library begins in the program.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  BEGUN, PARSED, SPAWNS, SPAWNED, ACCEPTED, REAPED, WRITTEN, ENDED, JOINED, PROGRAM_ENDED, MARKS = 16
};

static uint64_t *marks;
static int is_recorder;

static void mark(int which) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (marks) marks[which] = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("MARKS_FILE");
  const char *recorder = getenv("MARKS_RECORDER"), *program = getenv("MARKS_PROGRAM");
  char own[4096] = {0};
  if (!path || !recorder || !program) return;
  if (readlink("/proc/self/exe", own, sizeof own - 1) < 0) return;
  is_recorder = strcmp(own, recorder) == 0;
  if (!is_recorder && strcmp(own, program) != 0) return;  // what starts them
  int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  void *memory = mmap(NULL, MARKS * sizeof *marks, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return;
  marks = memory;
  mark(is_recorder ? BEGUN : JOINED);
}

__attribute__((destructor)) static void end(void) { mark(is_recorder ? ENDED : PROGRAM_ENDED); }

#define NEXT(name) \
  static __typeof__(name) *next; \
  if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

// The first thing that `record` does once it knows its options is to ignore SIGXFSZ.
int sigaction(int signal, const struct sigaction *action, struct sigaction *before) {
  NEXT(sigaction);
  if (is_recorder && signal == SIGXFSZ && marks && !marks[PARSED]) mark(PARSED);
  return next(signal, action, before);
}

int posix_spawn(pid_t *process, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const words[], char *const variables[]) {
  NEXT(posix_spawn);
  mark(SPAWNS);
  int error = next(process, path, actions, attributes, words, variables);
  mark(SPAWNED);
  return error;
}

int accept4(int listener, void *address, void *length, int flags) {
  static int (*next)(int, void *, void *, int);
  if (!next) next = (int (*)(int, void *, void *, int))dlsym(RTLD_NEXT, "accept4");
  int socket = next(listener, address, length, flags);
  if (is_recorder && socket >= 0 && marks && !marks[ACCEPTED]) mark(ACCEPTED);
  return socket;
}

pid_t waitpid(pid_t process, int *status, int options) {
  NEXT(waitpid);
  pid_t found = next(process, status, options);
  if (is_recorder && found > 0) mark(REAPED);
  return found;
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
  NEXT(renameat);
  int error = next(from_folder, from, to_folder, to);
  if (is_recorder) mark(WRITTEN);
  return error;
}
