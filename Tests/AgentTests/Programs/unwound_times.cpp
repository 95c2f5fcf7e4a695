// SPDX-License-Identifier: Apache-2.0
//
// Calls that an exception, longjmp or the end of the thread ends. Each function runs for a while
// before it, and its caller for a while afterwards. Prints how long each ran, by its own clock:
//
//   spent NAME NANOSECONDS

#include <csetjmp>
#include <cstdio>
#include <ctime>
#include <pthread.h>

#define NO __attribute__((noinline))
#define PLAIN __attribute__((noinline, no_instrument_function))

static std::jmp_buf place;
static long thrown, thrown_through, jumped, left, caught, landed;

static inline __attribute__((always_inline)) long now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000l + time.tv_nsec;
}

static inline __attribute__((always_inline)) long run() {
  long begin = now(), end = begin;
  while (end - begin < 10000000) end = now();
  return end - begin;
}

extern "C" {
NO void throws() {
  thrown += run();
  throw 1;
}
NO void passes() {
  thrown_through += run();
  throws();
}
NO void catches() {
  try {
    passes();
  } catch (int) {
    caught += run();
  }
}
NO void jumps() {
  jumped += run();
  longjmp(place, 1);
}
NO void lands() {
  if (setjmp(place) == 0) jumps();
  landed += run();
}
NO void leaves() {
  left += run();
  pthread_exit(nullptr);
}
}

PLAIN static void *thread(void *unused) {
  leaves();
  return unused;
}

int main() {
  for (int i = 0; i < 3; i++) {
    catches();
    lands();
  }
  pthread_t id;
  pthread_create(&id, nullptr, thread, nullptr);
  pthread_join(id, nullptr);
  std::printf("spent throws %ld\nspent passes %ld\nspent catches %ld\n", thrown, thrown_through, caught);
  std::printf("spent jumps %ld\nspent lands %ld\nspent leaves %ld\n", jumped, landed, left);
  return 0;
}
