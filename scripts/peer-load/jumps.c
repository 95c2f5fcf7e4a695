// SPDX-License-Identifier: Apache-2.0
//
// usage: jumps
//
// Every second one of 1,000 calls of jump() ends by longjmp.

#include <setjmp.h>

static jmp_buf back;

__attribute__((noinline)) void jump(int i) {
  if (i % 2) longjmp(back, 1);
}

__attribute__((noinline)) void around(int i) { jump(i); }

__attribute__((noinline)) void protect(int i) {
  if (!setjmp(back)) around(i);
}

int main(void) {
  for (int i = 0; i < 1000; i++) protect(i);
  return 0;
}
