// SPDX-License-Identifier: Apache-2.0
// Exceptions through hooked frames: nested, thrown again, from destructors' callees, in threads.
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#define KEEP __attribute__((noinline))
static volatile int one = 1;

static thread_local int alive, destroyed;

struct Guard {
  KEEP Guard() { alive++; }
  KEEP ~Guard() { alive--, destroyed++; }
};

extern "C" KEEP int leaf(int value) { return value + one; }
extern "C" KEEP void thrower(int depth) {
  Guard guard;
  if (depth == 0) throw std::runtime_error("thrown");
  thrower(depth - 1);
  leaf(depth);
}
extern "C" KEEP int again(int depth) {
  Guard guard;
  try {
    thrower(depth);
  } catch (const std::exception &) {
    leaf(1);
    throw;
  }
  return 0;
}
extern "C" KEEP int nested(int depth) {
  try {
    again(depth);
  } catch (const std::runtime_error &error) {
    try {
      Guard guard;
      throw std::logic_error(std::string(error.what()) + " again");
    } catch (const std::logic_error &other) {
      return leaf((int)std::string(other.what()).size());
    }
  }
  return -1;
}
extern "C" KEEP long rounds(int count) {
  long sum = 0;
  for (int i = 0; i < count; i++) sum += nested(i % 7);
  return sum;
}

int main() {
  std::vector<std::thread> threads;
  long sums[4] = {};
  int left[4] = {};
  for (int i = 0; i < 4; i++)
    threads.emplace_back([i, &sums, &left] { sums[i] = rounds(500), left[i] = alive; });
  for (auto &thread : threads) thread.join();
  for (int i = 0; i < 4; i++) std::printf("%ld %d\n", sums[i], left[i]);
  std::printf("%ld %d %d\n", rounds(700), alive, destroyed);
  std::printf("calls nested 2700\ncalls again 2700\ncalls leaf 5400\ncalls rounds 5\n");
  return 0;
}
