// SPDX-License-Identifier: Apache-2.0
// Every way to create a process. argv[1] selects one.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
extern char **environ;
static volatile int one = 1;

KEEP int work(int value) { return value + one; }
KEEP int child_work(int value) { return value + 2 * one; }

KEEP int wait_for(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
KEEP int do_child(int rounds) {
  int sum = 0;
  for (int i = 0; i < rounds; i++) sum += child_work(i);
  return sum;
}
KEEP int with_fork(void) {
  pid_t child = fork();
  if (child == 0) exit(do_child(10) % 50);
  return wait_for(child);
}
KEEP int with_raw_fork(void) {
  pid_t child = (pid_t)syscall(SYS_fork);
  if (child == 0) _exit(do_child(10) % 50);
  return wait_for(child);
}
KEEP int with_vfork(void) {
  pid_t child = vfork();
  if (child == 0) {
    child_work(1);
    do_child(10);
    execl("/bin/true", "true", NULL);
    _exit(9);
  }
  return wait_for(child);
}
KEEP int with_spawn(void) {
  pid_t child;
  char *words[] = {"sh", "-c", "exit 7", NULL};
  posix_spawnp(&child, "sh", NULL, NULL, words, environ);
  return wait_for(child);
}
KEEP int with_daemon(void) {
  int ends[2];
  if (pipe(ends) != 0) return -1;
  pid_t child = fork();
  if (child == 0) {
    if (fork() != 0) _exit(do_child(1));
    setsid();
    char byte = (char)do_child(10);
    if (write(ends[1], &byte, 1) != 1) _exit(1);
    exit(0);
  }
  wait_for(child);
  char byte = 0;
  close(ends[1]);
  while (read(ends[0], &byte, 1) == 1) {}
  return byte;
}
KEEP void *busy(void *argument) {
  while (*(volatile int *)argument) work(1);
  return NULL;
}
KEEP int with_threads(void) {
  static volatile int goes_on = 1;
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, busy, (void *)&goes_on);
  int sum = 0;
  for (int i = 0; i < 20; i++) sum += with_fork();
  goes_on = 0;
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  return sum;
}
KEEP int with_late_plugin(const char *path) {
  pid_t child = fork();
  if (child == 0) {
    void *plugin = dlopen(path, RTLD_NOW);
    int (*enter)(int) = (int (*)(int))dlsym(plugin, "plugin_enter");
    _exit(enter ? enter(5) : 100);
  }
  return wait_for(child);
}

int main(int count, char **words) {
  const char *how = count > 1 ? words[1] : "fork";
  int result = 0;
  for (int i = 0; i < 5; i++) result += work(i);
  if (!strcmp(how, "fork")) result = with_fork();
  if (!strcmp(how, "raw")) result = with_raw_fork();
  if (!strcmp(how, "vfork")) result = with_vfork();
  if (!strcmp(how, "spawn")) result = with_spawn();
  if (!strcmp(how, "daemon")) result = with_daemon();
  if (!strcmp(how, "threads")) result = with_threads();
  if (!strcmp(how, "system")) result = system("exit 3");
  if (!strcmp(how, "plugin")) result = with_late_plugin(words[2]);
  for (int i = 0; i < 5; i++) work(i);
  printf("%s %d\n", how, result);
  fflush(stdout);
  if (!strcmp(how, "kill")) kill(getpid(), SIGKILL);
  if (!strcmp(how, "segv")) *(volatile int *)8 = 1;
  if (!strcmp(how, "abort")) abort();
  if (!strcmp(how, "_exit")) _exit(5);
  if (!strcmp(how, "exec")) execlp("sh", "sh", "-c", "echo after; exit 4", NULL);
  return 3;
}
