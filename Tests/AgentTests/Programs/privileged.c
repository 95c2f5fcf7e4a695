// SPDX-License-Identifier: Apache-2.0
// Prints its user ids and AT_SECURE. With the set-user-id bit it runs as another user.
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

__attribute__((noinline, noclone)) int privileged_work(int value) { return value + 1; }

int main(void) {
  int sum = 0;
  for (int i = 0; i < 10; i++) sum += privileged_work(i);
  printf("user %d %d secure %lu sum %d\n", getuid(), geteuid(), getauxval(AT_SECURE), sum);
  return 3;
}
