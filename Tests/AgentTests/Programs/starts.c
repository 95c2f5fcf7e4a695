// SPDX-License-Identifier: Apache-2.0
//
// usage: starts HOW CHILD
//
// Starts CHILD in one of the ways that libc has, with an environment of its own that does not have
// what the recorder put into this one. Ends with the child's status.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

__attribute__((noinline)) int parent_work(int value) {
  __asm__ volatile("");
  return value + 1;
}

static char *others[512];

static int is(const char *how, const char *wanted) { return strcmp(how, wanted) == 0; }

static int spawned(int (*by)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                             const posix_spawnattr_t *, char *const *, char *const *),
                   const char *child, char **variables) {
  char *arguments[] = {(char *)child, 0};
  pid_t pid;
  int status = 0;
  if (by(&pid, child, 0, 0, arguments, variables) != 0) return 98;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

static void execute(const char *how, char *child) {
  char *none[] = {"A=b", 0}, *arguments[] = {child, 0};
  char *preload[] = {"LD_PRELOAD=libm.so.6", "A=b", 0};
  char *another[] = {"NOPSCOPE_AGENT=/no/such/socket", 0};
  if (is(how, "execve") || is(how, "vfork")) execve(child, arguments, none);
  if (is(how, "preload")) execve(child, arguments, preload);
  if (is(how, "many")) execve(child, arguments, others);
  if (is(how, "another")) execve(child, arguments, another);
  if (is(how, "execle")) execle(child, child, (char *)0, none);
  if (is(how, "execvpe")) execvpe(child, arguments, none);
  if (is(how, "fexecve")) fexecve(open(child, O_RDONLY | O_CLOEXEC), arguments, none);
  if (is(how, "execveat")) execveat(AT_FDCWD, child, arguments, none, 0);
  if (is(how, "failing")) {
    execve("/no/such/program", arguments, none);
    _exit(errno == ENOENT ? 3 : 1);
  }
  if (is(how, "fault")) {
    if (execve((char *)8, arguments, none) == 0 || errno != EFAULT) _exit(1);
    if (execve(child, arguments, (char **)8) == 0 || errno != EFAULT) _exit(2);
    _exit(3);
  }
  if (is(how, "user")) {
    if (setgroups(0, 0) || setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
      _exit(96);
    execve(child, arguments, environ);
  }
  clearenv();
  if (is(how, "clearenv")) execv(child, arguments);
  if (is(how, "execl")) execl(child, child, (char *)0);
  if (is(how, "execlp")) execlp(child, child, (char *)0);
  if (is(how, "execvp")) execvp(child, arguments);
  _exit(99);
}

int main(int count, char **arguments) {
  const char *how = arguments[1];
  char *child = arguments[2], *none[] = {"A=b", 0};
  int status = 0;
  parent_work(count);
  for (int i = 0; i < 500; i++) others[i] = "A=b";
  if (is(how, "spawn")) return spawned(posix_spawn, child, none);
  if (is(how, "spawnp")) return spawned(posix_spawnp, child, none);
  if (is(how, "system") || is(how, "popen")) clearenv();
  if (is(how, "system")) status = system(child);
  else if (is(how, "popen")) {
    FILE *stream = popen(child, "r");
    if (environ != 0 && environ[0] != 0) return 95;
    for (int byte; (byte = getc(stream)) != EOF;) putchar(byte);
    status = pclose(stream);
  } else {
    pid_t pid = is(how, "vfork") ? vfork() : fork();
    if (pid == 0) execute(how, child);
    waitpid(pid, &status, 0);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}
