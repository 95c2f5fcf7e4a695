// SPDX-License-Identifier: Apache-2.0
//
// A test driver in C, which builds with each sanitizer in seconds. The Swift tests make the claims;
// these checks run the same functions under a sanitizer.

#ifndef SANITIZED_CHECK_H
#define SANITIZED_CHECK_H

#include <stdbool.h>
#include <stdio.h>

extern int check_failures;

/// If the condition is false: counts the failure, prints it, and continues.
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
  const char *not_under_thread;  ///< why it cannot run under the thread sanitizer; NULL: it can
} check;

/// Runs all checks, or those that the arguments name. Returns the exit status.
int check_main(const check *checks, size_t count, int argc, char **argv);

#endif
