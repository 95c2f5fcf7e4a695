// SPDX-License-Identifier: Apache-2.0
// The child of starts.c. It says which environment it has, unless that is its parent's. Where it is
// static, it says whether it was given the agent.
#include <stdio.h>
#include <stdlib.h>
__attribute__((noinline)) int child_work(int value) {
  __asm__ volatile("");
  return value + 1;
}
extern char **environ;
int main(void) {
#ifdef STATIC
  puts(getenv("LD_PRELOAD") ? "given the agent" : "left as it was");
#else
  if (getenv("PATH") == NULL)
    for (char **at = environ; at != NULL && *at != NULL; at++) puts(*at);
#endif
  return child_work(2);
}
