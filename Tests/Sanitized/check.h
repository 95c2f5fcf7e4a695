// SPDX-License-Identifier: Apache-2.0
//
// A test driver in C, so that it can be built with each sanitizer in seconds: the Swift tests have
// the claims, and these run the same functions where a sanitizer watches them.

#ifndef SANITIZED_CHECK_H
#define SANITIZED_CHECK_H

#include <stdbool.h>
#include <stdio.h>

extern int check_failures;

/// Counts and tells what does not hold, and goes on.
#define CHECK(condition)                                                                   \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      check_failures++;                                                                    \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);        \
    }                                                                                      \
  } while (0)

typedef struct check {
  const char *name;
  void (*run)(void);
  const char *not_under_thread;  ///< why the thread sanitizer cannot run it; NULL: it can
} check;

/// Runs all, or those named by the arguments; the exit status.
int check_main(const check *checks, size_t count, int argc, char **argv);

#endif
