// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include <string.h>

#if defined(__has_feature) && __has_feature(thread_sanitizer)
enum { UNDER_THREAD = 1 };
#else
enum { UNDER_THREAD = 0 };
#endif

int check_failures;

static bool is_chosen(const char *name, int argc, char **argv) {
  bool chosen = argc < 2;
  for (int i = 1; i < argc; i++) chosen |= strcmp(name, argv[i]) == 0;
  return chosen;
}

int check_main(const check *checks, size_t count, int argc, char **argv) {
  int run = 0;
  for (size_t i = 0; i < count; i++) {
    if (!is_chosen(checks[i].name, argc, argv)) continue;
    if (UNDER_THREAD && checks[i].not_under_thread) {
      fprintf(stderr, "  skip %s: %s\n", checks[i].name, checks[i].not_under_thread);
      continue;
    }
    int before = check_failures;
    checks[i].run();
    run++;
    fprintf(stderr, "  %-4s %s\n", check_failures == before ? "ok" : "FAIL", checks[i].name);
  }
  // If no check ran, the name was wrong: that is a failure.
  return run == 0 || check_failures > 0;
}
