// SPDX-License-Identifier: Apache-2.0
// The child of starts.c.
__attribute__((noinline)) int child_work(int value) {
  __asm__ volatile("");
  return value + 1;
}
int main(void) { return child_work(2); }
