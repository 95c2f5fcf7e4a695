// SPDX-License-Identifier: Apache-2.0
// stack_in_frame local|static|heap: a coroutine whose stack is an array in main's frame, a static one,
// or on the heap. enter() returns in the ordinary way, after 40 ms, 20 of which are the coroutine's.
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#define KEEP __attribute__((noinline, noclone))
enum { SIZE = 65536 };
static ucontext_t home, other;
static volatile int one = 1;

static void rest(void) {
  struct timespec time = {0, 20000000};
  nanosleep(&time, NULL);
}
KEEP void body(void) { rest(); }
KEEP int enter(void) {
  rest();
  swapcontext(&home, &other);
  return one;
}
KEEP int later(int value) { return value + one; }

static char fixed[SIZE];
int main(int count, char **words) {
  char local[SIZE];
  const char *how = count > 1 ? words[1] : "local";
  getcontext(&other);
  other.uc_link = &home;
  other.uc_stack.ss_size = SIZE;
  other.uc_stack.ss_sp = !strcmp(how, "local") ? local : !strcmp(how, "static") ? fixed : malloc(SIZE);
  makecontext(&other, body, 0);
  return later(enter()) - 2;
}
