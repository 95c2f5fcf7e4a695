// SPDX-License-Identifier: Apache-2.0
//
// Stops all threads of a process but one.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "CVisit.h"
#include "tracing.h"

// Where the waiting for one thread begins to be in vain: it may be the parent of a vfork, which no
// signal wakes.
enum { PATIENCE_NANOSECONDS = 20000000 };

typedef struct one {
  pid_t thread;
  bool is_stopped, is_gone;
  struct user_regs_struct registers;
} one;

struct nvi_world {
  pid_t process, except;
  uint32_t count, capacity;
  one *threads;
};

static one *find(nvi_world *world, pid_t thread) {
  for (uint32_t i = 0; i < world->count; i++)
    if (world->threads[i].thread == thread) return &world->threads[i];
  return NULL;
}

static bool add(nvi_world *world, pid_t thread) {
  if (world->count == world->capacity) {
    uint32_t wide = world->capacity ? 2 * world->capacity : 64;
    one *more = realloc(world->threads, wide * sizeof *more);
    if (more == NULL) return false;
    world->threads = more, world->capacity = wide;
  }
  world->threads[world->count++] = (one){.thread = thread};
  return true;
}

// Asks each thread that is new to stop. The number of those, or minus an errno.
static int ask_new(nvi_world *world) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", world->process);
  DIR *tasks = opendir(path);
  if (tasks == NULL) return -errno;
  int found = 0;
  for (struct dirent *entry; found >= 0 && (entry = readdir(tasks)) != NULL;) {
    pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
    if (thread <= 0 || thread == world->except || find(world, thread) != NULL) continue;
    if (!add(world, thread)) {
      found = -ENOMEM;
      break;
    }
    found++;
    one *it = &world->threads[world->count - 1];
    if (ptrace(PTRACE_SEIZE, thread, 0, 0) != 0) {
      // It has ended, or it is the main thread after pthread_exit.
      it->is_gone = true;
      if (errno != ESRCH && errno != EPERM) found = -errno;
    } else if (ptrace(PTRACE_INTERRUPT, thread, 0, 0) != 0) {
      it->is_gone = true;
    }
  }
  closedir(tasks);
  return found;
}

// Whether it waits for a child that runs in its memory.
static bool is_vfork_parent(const nvi_world *world, pid_t thread) {
  char path[64], text[32] = "";
  snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", world->process, thread);
  FILE *file = fopen(path, "re");
  if (file == NULL) return false;
  bool is_read = fgets(text, sizeof text, file) != NULL;
  fclose(file);
  long number = is_read ? strtol(text, NULL, 10) : -1;
  return number == SYS_vfork || number == SYS_clone || number == SYS_clone3;
}

static int wait_for(nvi_world *world, one *it, uint64_t deadline) {
  for (;;) {
    uint64_t patience = nvi_now() + PATIENCE_NANOSECONDS;
    int error = nvi_interrupted(it->thread, patience < deadline ? patience : deadline);
    if (error == 0) error = nvi_get_registers(it->thread, &it->registers);
    it->is_stopped = error == 0;
    if (error == 0) return 0;
    if (error == ESRCH || error == ECHILD) {
      it->is_gone = true;
      return 0;
    }
    if (error != ETIMEDOUT) return error;
    if (is_vfork_parent(world, it->thread)) return EAGAIN;
    if (nvi_now() > deadline) return ETIMEDOUT;
  }
}

int nvi_world_stop(pid_t process, pid_t except, uint32_t milliseconds, nvi_world **stopped,
                   pid_t *blamed) {
  uint64_t deadline = nvi_now() + (uint64_t)milliseconds * 1000000;
  nvi_world *world = calloc(1, sizeof *world);
  if (world == NULL) return ENOMEM;
  world->process = process, world->except = except;
  int error = 0;
  for (uint32_t waited = 0; error == 0;) {
    int found = ask_new(world);
    if (found <= 0) error = -found;
    if (found <= 0) break;
    for (; error == 0 && waited < world->count; waited++) {
      one *it = &world->threads[waited];
      if (!it->is_gone) error = wait_for(world, it, deadline);
      if (error != 0) *blamed = it->thread;
    }
  }
  if (error == 0) {
    *stopped = world;
    return 0;
  }
  nvi_world_release(world);
  return error;
}

uint32_t nvi_world_count(const nvi_world *world) { return world->count; }

bool nvi_world_thread(const nvi_world *world, uint32_t index, nvi_place *place) {
  const one *it = &world->threads[index];
  if (!it->is_stopped) return false;
  *place = (nvi_place){.thread = it->thread, .pc = it->registers.rip, .sp = it->registers.rsp,
                       .thread_pointer = it->registers.fs_base,
                       .system_call = (int64_t)it->registers.orig_rax};
  return true;
}

void nvi_world_move(nvi_world *world, uint32_t index, uint64_t pc) {
  world->threads[index].registers.rip = pc;
}

static void let_go(one *it) {
  if (it->is_gone) return;
  if (!it->is_stopped) {
    nvi_leave(it->thread);
    return;
  }
  nvi_begin_call_again(&it->registers);
  nvi_set_registers(it->thread, &it->registers);
  ptrace(PTRACE_DETACH, it->thread, 0, 0);
}

void nvi_world_release(nvi_world *world) {
  for (uint32_t i = 0; i < world->count; i++) let_go(&world->threads[i]);
  free(world->threads);
  free(world);
}
