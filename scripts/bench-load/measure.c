// SPDX-License-Identifier: Apache-2.0
//
// usage: measure FILE PROGRAM [ARGUMENT]...
//
// Runs PROGRAM, writes `wall NS peak KIB start NS` into FILE (peak: its most resident memory, from
// wait4; start: by the monotonic clock) and exits with its status. It is in C because a child's
// peak includes the memory that it had before its exec, and an interpreter's would hide the
// program's.

#define _GNU_SOURCE
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **words) {
  struct timespec start, end;
  struct rusage usage;
  int status;
  if (count < 3) return 64;
  clock_gettime(CLOCK_MONOTONIC, &start);
  pid_t child = fork();
  if (child == 0) {
    execvp(words[2], words + 2);
    perror(words[2]);
    _exit(127);
  }
  if (child < 0 || wait4(child, &status, 0, &usage) != child) return 125;
  clock_gettime(CLOCK_MONOTONIC, &end);
  FILE *file = fopen(words[1], "w");
  if (file == NULL) return 125;
  double began = (double)start.tv_sec * 1e9 + (double)start.tv_nsec;
  double wall = (double)end.tv_sec * 1e9 + (double)end.tv_nsec - began;
  fprintf(file, "wall %.0f peak %ld start %.0f\n", wall, usage.ru_maxrss, began);
  fclose(file);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
