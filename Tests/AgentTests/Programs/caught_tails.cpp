// SPDX-License-Identifier: Apache-2.0
//
// Throws out of functions that were reached by tail calls, and catches in the function that made the
// first call: its frame is the next one behind one trampoline, or several.

#include <cstdio>
#include <stdexcept>

static volatile int destroyed;

struct Local {
  ~Local() { destroyed = destroyed + 1; }
};

extern "C" {
__attribute__((noinline)) int ends(int a) {
  if (a % 2 == 0) throw std::runtime_error("ends");
  return a;
}
__attribute__((noinline)) int inner_tail(int a) { return ends(a + 1); }
__attribute__((noinline)) int outer_tail(int a) { return inner_tail(a + 1); }
__attribute__((noinline)) int cleans(int a) {
  Local local;
  return outer_tail(a) + 1;
}
__attribute__((noinline)) int catches(int a) {
  try {
    return outer_tail(a) + 1;
  } catch (const std::exception &) {
    return -1;
  }
}
__attribute__((noinline)) int catches_further(int a) {
  try {
    return cleans(a) + 1;
  } catch (const std::exception &) {
    return -2;
  }
}
}

int main() {
  long sum = 0;
  for (int i = 0; i < 100; i++) sum += catches(i) + catches_further(i);
  std::printf("sum %ld, destroyed %d\n", sum, destroyed);
  std::printf("calls catches 100\ncalls catches_further 100\ncalls cleans 100\n");
  std::printf("calls outer_tail 200\ncalls inner_tail 200\ncalls ends 200\n");
}
