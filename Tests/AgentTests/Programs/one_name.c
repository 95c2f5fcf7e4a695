// SPDX-License-Identifier: Apache-2.0
//
// Makes one call while the thread has the name argv[1].
#include <sys/prctl.h>

__attribute__((noinline)) void call(void) { __asm__ volatile(""); }

int main(int count, char **arguments) {
  if (count > 1) prctl(PR_SET_NAME, arguments[1]);
  call();
  return 0;
}
