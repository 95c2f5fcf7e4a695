// SPDX-License-Identifier: Apache-2.0
// Functions that are called from several places in turn, directly and through pointers, and by a
// signal handler too. Prints how often each caller called each function.
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>

#define KEEP __attribute__((noinline, noclone))

static volatile long sum, handled;

KEEP void leaf(void) { sum++; }
KEEP void other(void) { sum += 2; }
KEEP void first(void) { leaf(); sum++; }
KEEP void second(void) { leaf(); leaf(); sum++; }
KEEP void through(void (*function)(void)) { function(); sum++; }
KEEP void handler(int signal) {
  (void)signal;
  leaf();
  through(other);
  handled++;
}

int main(void) {
  struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
  signal(SIGALRM, handler);
  setitimer(ITIMER_REAL, &often, NULL);
  // So many calls that they fill many chunks and that many signals come.
  for (int i = 0; i < 20000 || handled < 300; i++) {
    if (i >= 20000) continue;
    first();
    second();
    through(leaf);
    through(other);
  }
  setitimer(ITIMER_REAL, &never, NULL);
  printf("pair leaf first 20000\npair leaf second 40000\n");
  printf("pair leaf through 20000\npair other through %ld\npair leaf handler %ld\n",
         20000 + handled, handled);
  return 0;
}
