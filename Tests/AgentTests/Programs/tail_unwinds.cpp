// SPDX-License-Identifier: Apache-2.0
//
// What ends calls without a return, out of functions that were reached by tail calls: an exception,
// longjmp, the cancellation of a thread. A backtrace from there reaches main.

#include <csetjmp>
#include <cstdio>
#include <execinfo.h>
#include <pthread.h>
#include <stdexcept>
#include <unistd.h>

static volatile int how;
static std::jmp_buf place;
static volatile int destroyed;

struct Local {
  ~Local() { destroyed = destroyed + 1; }
};

extern "C" {
__attribute__((noinline)) int ends(int a) {
  switch (how) {
    case 0: throw std::runtime_error("ends");
    case 1: longjmp(place, 7);
    case 2: for (;;) pause();
    default: return a + how;
  }
}
__attribute__((noinline)) int inner_tail(int a) { return ends(a + 1); }
__attribute__((noinline)) int outer_tail(int a) { return inner_tail(a + 1); }
__attribute__((noinline)) int catches(int a) {
  try {
    return outer_tail(a) + 1;
  } catch (const std::exception &) {
    return -1;
  }
}
__attribute__((noinline)) int jumps(int a) {
  if (setjmp(place) != 0) return -2;
  return outer_tail(a) + 1;
}
__attribute__((noinline)) void *is_cancelled(void *unused) {
  Local local;
  outer_tail(1);
  return unused;
}
__attribute__((noinline)) int count_frames() {
  void *frames[64];
  return backtrace(frames, 64);
}
__attribute__((noinline)) int traces_tail() { return count_frames(); }
__attribute__((noinline)) int traces() { return traces_tail() > 3; }
}

int main() {
  for (int i = 0; i < 3; i++) std::printf("caught %d\n", catches(5));
  how = 1;
  for (int i = 0; i < 3; i++) std::printf("jumped %d\n", jumps(5));
  how = 2;
  pthread_t thread;
  void *result;
  pthread_create(&thread, nullptr, is_cancelled, nullptr);
  usleep(20000);
  pthread_cancel(thread);
  pthread_join(thread, &result);
  std::printf("cancelled %d, destroyed %d\n", result == PTHREAD_CANCELED, destroyed);
  how = 3;
  std::printf("returned %d\n", catches(5));
  std::printf("main was reached: %d\n", traces());
}
