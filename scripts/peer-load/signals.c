// SPDX-License-Identifier: Apache-2.0
//
// usage: signals
//
// Works until a timer's signal has come 1,000 times. Its handler runs on a stack of its own.

#define _GNU_SOURCE
#include <signal.h>
#include <sys/time.h>

enum { TICKS = 1000 };
static volatile int ticks;
static char other_stack[65536];

static void set_timer(int microseconds) {
  struct itimerval timer = {{0, microseconds}, {0, microseconds}};
  setitimer(ITIMER_REAL, &timer, 0);
}

__attribute__((noinline)) void count_tick(void) {
  if (++ticks == TICKS) set_timer(0);
}

static void on_tick(int signal) {
  (void)signal;
  count_tick();
}

__attribute__((noinline)) int work(int n) {
  for (volatile int i = 0; i < 1000; i++) n += i;
  return n;
}

int main(void) {
  stack_t stack = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
  struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_ONSTACK};
  int sum = 0;
  sigaltstack(&stack, 0);
  sigaction(SIGALRM, &action, 0);
  set_timer(200);
  while (ticks < TICKS) sum += work(sum);
  return 0;
}
