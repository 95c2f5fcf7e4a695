// SPDX-License-Identifier: Apache-2.0
//
// A forked child calls libraries that its parent unloads right after the fork, before the child's
// first call. In each round the parent has other libraries at the addresses where the child has its
// own. "raw": the fork is a system call.
//
// usage: child_keeps fork|raw LIBRARY...

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLAIN __attribute__((noinline, no_instrument_function))

enum { ROUNDS = 6, MOST = 8, CALLS = 10 };

static int bad;

PLAIN static void child(int (**functions)(int), int count, int wait_for) {
  char byte;
  if (read(wait_for, &byte, 1) < 0) _exit(3);
  int sum = 0;
  for (int i = 0; i < count; i++)
    for (int call = 0; call < CALLS; call++) sum += functions[i](call);
  _exit(sum == 0);
}

PLAIN static void round_of(int is_raw, char **paths, int count, int shift) {
  void *libraries[MOST];
  int (*functions[MOST])(int);
  for (int i = 0; i < count; i++) {
    libraries[i] = dlopen(paths[(i + shift) % count], RTLD_NOW);
    functions[i] = (int (*)(int))dlsym(libraries[i], "plugin_enter");
  }
  int ends[2], status = -1;
  if (pipe(ends) != 0) return;
  pid_t pid = is_raw ? (pid_t)syscall(SYS_fork) : fork();
  if (pid == 0) {
    close(ends[1]);
    child(functions, count, ends[0]);
  }
  for (int i = count; i-- > 0;) dlclose(libraries[i]);
  void *other = dlopen(paths[(shift + 1) % count], RTLD_NOW);
  close(ends[1]);
  waitpid(pid, &status, 0);
  bad += status != 0;
  close(ends[0]);
  dlclose(other);
}

PLAIN int main(int words, char **word) {
  int count = words - 2;
  if (count < 1 || count > MOST) return 64;
  for (int i = 0; i < ROUNDS; i++) round_of(strcmp(word[1], "raw") == 0, word + 2, count, i);
  printf("bad %d\n", bad);
  printf("calls plugin_enter %d\n", ROUNDS * count * CALLS);
  return bad != 0;
}
