// SPDX-License-Identifier: Apache-2.0
//
// Wraps a program's main() (linked with --wrap=main) in scripts/check-record. It reads the clock
// before and after, and writes to stderr: `own clock NS returned`, or `exited` where main() ended
// in exit(). A program that ends by _exit() is not timed.
//
// Shells import the environment, so this makes its order and its size the same under each tool,
// except for the values: it removes what valgrind adds and sorts the rest.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
int __real_main(int count, char **words, char **variables);
int __wrap_main(int count, char **words, char **variables);

static long long begin;
static pid_t owner;

static long long nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void tell(const char *how) {
  long long taken = nanoseconds() - begin;
  // A forked child inherits the handler but not the measurement.
  if (owner == getpid()) dprintf(2, "own clock %lld %s\n", taken, how);
  owner = 0;
}

static void at_exit(void) { tell("exited"); }

static void settle_environment(void) {
  static const char *const added[] = {
      "GLIBCPP_FORCE_NEW", "GLIBCXX_FORCE_NEW", "LD_LIBRARY_PATH", "VALGRIND_LAUNCHER",
      "VALGRIND_LIB",
  };
  for (size_t i = 0; i < sizeof added / sizeof added[0]; i++) unsetenv(added[i]);
  // Sorts by hand: qsort would call a function of this file a varying number of times.
  for (char **next = environ; *next != NULL; next++) {
    char *variable = *next, **place = next;
    for (; place > environ && strcmp(place[-1], variable) > 0; place--) *place = place[-1];
    *place = variable;
  }
}

int __wrap_main(int count, char **words, char **variables) {
  (void)variables;
  settle_environment();
  owner = getpid();
  atexit(at_exit);
  begin = nanoseconds();
  int status = __real_main(count, words, environ);
  tell("returned");
  return status;
}
