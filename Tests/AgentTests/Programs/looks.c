// SPDX-License-Identifier: Apache-2.0
// Prints what a program can see of its environment. argv[1] selects what.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
extern char **environ;
static volatile int ticks;

static void descriptors(void) {
  DIR *folder = opendir("/proc/self/fd");
  for (struct dirent *entry; (entry = readdir(folder));) {
    int number = atoi(entry->d_name);
    if (number < 700 && entry->d_name[0] != '.') printf("%d\n", number);
  }
  closedir(folder);
}
static void environment(void) {
  for (char **one = environ; *one; one++) {
    int is_ours = !strncmp(*one, "LD_PRELOAD=", 11) || !strncmp(*one, "NOPSCOPE_AGENT=", 15);
    if (!is_ours) puts(*one);
  }
}
static void signals(void) {
  for (int i = 1; i < 65; i++) {
    struct sigaction action;
    sigset_t set;
    if (sigaction(i, NULL, &action) != 0) continue;
    sigprocmask(SIG_SETMASK, NULL, &set);
    if (i != SIGPROF)  // gprof uses it in a plain run
      printf("%d %d %d\n", i, action.sa_handler == SIG_DFL, sigismember(&set, i));
  }
}
KEEP void tick(int signal) { ticks += signal == SIGALRM; }
static void timer(void) {
  signal(SIGALRM, tick);
  struct itimerval every = {{0, 1000}, {0, 1000}};
  setitimer(ITIMER_REAL, &every, NULL);
  while (ticks < 20) pause();
  printf("ticks\n");
}
KEEP int look(const char *how) {
  errno = 77;
  int number = how[0];
  if (!strcmp(how, "descriptors")) descriptors();
  if (!strcmp(how, "environment")) environment();
  if (!strcmp(how, "signals")) signals();
  if (!strcmp(how, "timer")) timer();
  if (!strcmp(how, "first")) printf("%d\n", open("/dev/null", O_RDONLY));
  return number;
}

int main(int count, char **words) {
  errno = 55;
  if (!strcmp(words[1], "folder")) return chdir(words[2]) == 0 ? 3 : 2;
  if (!strcmp(words[1], "errno")) {
    look("x");
    printf("%d\n", errno);
    return 3;
  }
  if (!strcmp(words[1], "closes")) closefrom(3);
  look(words[1]);
  for (int i = 1; i < count; i++) printf("%s\n", words[i]);
  return 3;
}
