// SPDX-License-Identifier: Apache-2.0
//
// A thread's first traced call is in a signal handler, on an alternate stack that has just so many
// bytes left (more where the kernel takes no smaller stack). What is below the stack must not change.
//
// usage: small_stack BYTES

#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN __attribute__((noinline, no_instrument_function))

enum {
  GUARDED = 65536, LARGEST = 65536, FILL = 0x5a,
  SMALLEST = 2048,  // the kernel's MINSIGSTKSZ: it takes no smaller stack
};

static int left;
static char area[GUARDED + LARGEST] __attribute__((aligned(4096)));
static volatile int calls;

__attribute__((noinline)) void traced(void) { calls++; }

// Where the handler's own frame begins, with room for all that follows.
static char *lowest;

PLAIN static void find_lowest(int signal) {
  (void)signal;
  lowest = __builtin_frame_address(0);
}

PLAIN static void handler(int signal) {
  (void)signal;
  traced();
}

PLAIN static void deliver(void (*function)(int), char *stack, size_t bytes) {
  stack_t alternate = {.ss_sp = stack, .ss_size = bytes};
  sigaltstack(&alternate, NULL);
  struct sigaction action = {.sa_handler = function, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR1, &action, NULL);
  raise(SIGUSR1);
}

PLAIN static void *run(void *unused) {
  char *top = area + sizeof area;
  deliver(find_lowest, area + GUARDED, LARGEST);
  size_t bytes = (size_t)(top - lowest) + (size_t)left;
  if (bytes < SMALLEST) bytes = SMALLEST;
  char *stack = (char *)((uintptr_t)(top - bytes) & ~(uintptr_t)15);
  memset(area, FILL, sizeof area);
  deliver(handler, stack, (size_t)(top - stack));
  size_t changed = 0;
  for (char *byte = area; byte < stack; byte++) changed += *byte != FILL;
  printf("%zu bytes below the stack changed, %d calls\n", changed, calls);
  return changed ? unused : NULL;
}

PLAIN int main(int count, char **words) {
  left = count > 1 ? atoi(words[1]) : 1024;
  traced();  // alone, the loader looks mcount up here, which needs much stack
  pthread_t thread;
  void *result;
  pthread_create(&thread, NULL, run, area);
  pthread_join(thread, &result);
  return result != NULL;
}
