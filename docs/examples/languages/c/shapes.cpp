// SPDX-License-Identifier: Apache-2.0
//
// What docs/languages.md builds: noinline, so that there are functions to see at every -O.

#include <cstdio>

namespace {

struct Square {
  unsigned side;
  [[gnu::noinline]] unsigned area() const { return side * side; }
};

template <typename Shape>
[[gnu::noinline]] unsigned total_area(unsigned n) {
  unsigned sum = 0;
  for (unsigned i = 1; i <= n; i++) sum += Shape{i}.area();
  return sum;
}

}  // namespace

int main(int argc, char **) {
  std::printf("%u\n", total_area<Square>(999 + static_cast<unsigned>(argc)));
}
