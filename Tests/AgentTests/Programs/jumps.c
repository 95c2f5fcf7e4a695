// SPDX-License-Identifier: Apache-2.0
// longjmp over hooked frames, again and again, also from a signal handler. argv[1] is the number of
// rounds.
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define KEEP __attribute__((noinline, noclone))
static volatile int one = 1;

static jmp_buf place;
static sigjmp_buf signalled;
static volatile long sum;

KEEP int leaf(int value) { return value + one; }
KEEP void thrower(int depth) {
  if (depth == 0) longjmp(place, 7);
  thrower(depth - 1);
  sum += leaf(depth);
}
KEEP void catcher(int depth) {
  if (setjmp(place) == 0) thrower(depth);
  else sum += leaf(depth);
}
KEEP void handler(int signal) { siglongjmp(signalled, signal); }
KEEP void raiser(void) {
  raise(SIGUSR1);
  sum += leaf(1000);
}

int main(int count, char **arguments) {
  long rounds = count > 1 ? atol(arguments[1]) : 100000;
  signal(SIGUSR1, handler);
  for (long i = 0; i < rounds; i++) catcher((int)(i % 4));
  for (volatile int i = 0; i < 1000; i++) {
    if (sigsetjmp(signalled, 1) == 0) raiser();
    sum += leaf(i);
  }
  printf("sum %ld\n", sum);
  printf("calls leaf %ld\ncalls catcher %ld\ncalls raiser 1000\ncalls handler 1000\n",
         rounds + 1000, rounds);
  return 0;
}
