// SPDX-License-Identifier: Apache-2.0
// The child of starts.c. Where it is static, it says whether it was given the agent.
#include <stdio.h>
#include <stdlib.h>
__attribute__((noinline)) int child_work(int value) {
  __asm__ volatile("");
  return value + 1;
}
int main(void) {
#ifdef STATIC
  puts(getenv("LD_PRELOAD") ? "given the agent" : "left as it was");
#endif
  return child_work(2);
}
