// SPDX-License-Identifier: Apache-2.0
//
// Examines threads: /proc/self/task, and the files `syscall` and `status` of each thread.

#define _GNU_SOURCE
#include "task_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int npc_tasks_open(void) {
  return open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int npc_tasks_each(int tasks, int (*visit)(int tasks, int32_t thread, void *context),
                   void *context) {
  static char buffer[32768] __attribute__((aligned(8)));
  if (lseek(tasks, 0, SEEK_SET) < 0) return -1;
  for (;;) {
    long length = syscall(SYS_getdents64, tasks, buffer, sizeof buffer);
    if (length <= 0) return length < 0 ? -1 : 0;
    for (long at = 0; at < length;) {
      struct dirent64 *entry = (struct dirent64 *)(buffer + at);
      at += entry->d_reclen;
      int32_t thread = atoi(entry->d_name);
      int status = thread > 0 ? visit(tasks, thread, context) : 0;
      if (status != 0) return status;
    }
  }
}

// Reads /proc/self/task/TID/`leaf` into `buffer`, NUL-terminated. False if the file is gone or
// refused.
static bool read_file(int tasks, int32_t thread, const char *leaf, char *buffer, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "%d/%s", thread, leaf);
  int file = openat(tasks, path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  ssize_t length = read(file, buffer, size - 1);
  close(file);
  if (length <= 0) return false;
  buffer[length] = 0;
  return true;
}

// The file says "running"; "NR a0 a1 a2 a3 a4 a5 SP PC" in a system call; or "-1 SP PC" for a
// thread blocked outside one.
bool npc_task_sleeps(int tasks, int32_t thread, npc_task_sleep *sleep) {
  char text[256];
  if (!read_file(tasks, thread, "syscall", text, sizeof text)) return false;
  char *end;
  sleep->system_call = strtoll(text, &end, 10);
  if (end == text || sleep->system_call < 0) return false;
  sleep->first_argument = strtoull(end, NULL, 16);
  char *pc = strrchr(text, ' '), *sp;
  if (pc) *pc = 0;
  sp = strrchr(text, ' ');
  sleep->sp = pc && sp ? strtoull(sp + 1, NULL, 16) : 0;
  return true;
}

// Finds "NAME" at the beginning of a line, and reads the hexadecimal number behind it. The file may
// be long: a process can have 65,536 groups, which stand before the masks. 0; ENODATA; or an errno.
static int find_mask(int file, const char *name, uint64_t *mask) {
  char text[4096];
  size_t kept = 0, longest = strlen(name) + 20;  // with the number and the newline
  for (;;) {
    ssize_t length = read(file, text + kept, sizeof text - 1 - kept);
    if (length < 0) return errno;
    text[kept + (size_t)length] = 0;
    const char *line = strstr(text, name);
    if (line && (length == 0 || strchr(line + 1, '\n'))) {
      *mask = strtoull(line + strlen(name), NULL, 16);
      return 0;
    }
    if (length == 0) return ENODATA;
    size_t all = kept + (size_t)length;
    kept = all < longest ? all : longest;
    memmove(text, text + all - kept, kept);
  }
}

int npc_task_blocks(int tasks, int32_t thread, int signal) {
  char path[64];
  snprintf(path, sizeof path, "%d/status", thread);
  int file = openat(tasks, path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return errno == ENOENT || errno == ESRCH ? 0 : -errno;
  uint64_t mask = 0;
  int error = find_mask(file, "\nSigBlk:", &mask);
  close(file);
  if (error != 0) return error == ESRCH ? 0 : -error;
  return (int)(mask >> (signal - 1) & 1);
}

// proc_pid_stat(5): "TID (NAME) STATE ...". The name may hold any byte.
bool npc_task_is_zombie(int tasks, int32_t thread) {
  char text[512];
  if (!read_file(tasks, thread, "stat", text, sizeof text)) return false;
  const char *end = strrchr(text, ')');
  return end && end[1] == ' ' && (end[2] == 'Z' || end[2] == 'X');
}
