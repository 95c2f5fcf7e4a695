// SPDX-License-Identifier: Apache-2.0
//
// usage: throws
//
// Every second one of 1,000 calls of inner() ends by an exception.

#include <stdexcept>

[[gnu::noinline]] int inner(int i) {
  if (i % 2) throw std::runtime_error("odd");
  return i;
}

[[gnu::noinline]] int middle(int i) { return inner(i) + 1; }

[[gnu::noinline]] int guarded(int i) {
  try {
    return middle(i);
  } catch (const std::runtime_error &) { return 0; }
}

int main() {
  int sum = 0;
  for (int i = 0; i < 1000; i++) sum += guarded(i);
  return sum == 1;
}
