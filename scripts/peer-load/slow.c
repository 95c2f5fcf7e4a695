// SPDX-License-Identifier: Apache-2.0
//
// usage: slow
//
// Handles 20,000 requests. One of them, number 777, waits 20 ms for a disk.

#include <time.h>

__attribute__((noinline)) void read_disk(void) {
  struct timespec time = {0, 20000000};
  nanosleep(&time, 0);
}

__attribute__((noinline)) int lookup(int key) {
  if (key == 777) read_disk();
  return key * 7;
}

__attribute__((noinline)) int handle(int request) {
  return lookup(request) + lookup(request + 100000);
}

int main(void) {
  int sum = 0;
  for (int request = 0; request < 20000; request++) sum += handle(request);
  return sum == 1;
}
