// SPDX-License-Identifier: Apache-2.0
// stacks HOW ROUNDS: several stacks in one thread, switched by a few instructions as Boost.Context
// and most coroutine libraries switch.
//
//   generators  main asks 50 coroutines on adjacent stacks, in random order, at random depths
//   nested      coroutines ask coroutines
//   symmetric   coroutines go on to one another, main waits
//   destroyed   each coroutine is given up at its first answer, and its memory used again
//   unmapped    the same, its memory is unmapped
//   copied      all coroutines run at the same addresses: their stacks are copied away and back
//   jumps       coroutines leave nested calls by longjmp, and go on
//   handlers    signal handlers on an alternate stack interrupt coroutines
//   deep        a coroutine of a thousand open calls is asked at its deepest call
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
#define PLAIN __attribute__((no_instrument_function))
enum { COUNT = 50, SIZE = 32768 };

static struct { long leaf, nest, answer, ask, body, jump, handler; } calls;
static uint64_t seed = 88172645463325252u;
static volatile long sum;

PLAIN static unsigned draw(unsigned below) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return (unsigned)(seed >> 33) % below;
}

// Stores the stack pointer of the running code, and goes on at another.
void change(void **from, void *to);
__asm__(
    ".text\n.type change, @function\nchange:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
    ".size change, . - change\n");

typedef struct coroutine {
  char *memory;
  void *pointer;          // where it goes on
  void **asker;           // who is to go on at its answer
  char *copy;
  size_t copied;
} coroutine;
static coroutine all[COUNT], *running;
static void *main_pointer;
static const char *how;

KEEP long leaf(long value) {
  calls.leaf++;
  __asm__ volatile("");
  return value + 1;
}

// Back to who has asked.
KEEP void answer(long value) {
  calls.answer++;
  coroutine *own = running;
  sum += value;
  change(&own->pointer, *own->asker);
  sum += leaf(value);
}

KEEP void nest(unsigned depth) {
  calls.nest++;
  if (depth > 0) nest(depth - 1);
  else answer(leaf(3));
  __asm__ volatile("");
}

static jmp_buf places[COUNT];
KEEP void jump(unsigned depth) {
  calls.jump++;
  if (depth > 0) jump(depth - 1);
  sum += leaf(1);
  longjmp(places[running - all], 1);
}

KEEP void ask(coroutine *one) {
  calls.ask++;
  void *here;
  coroutine *before = running;
  one->asker = &here;
  running = one;
  change(&here, one->pointer);
  running = before;
  __asm__ volatile("");
}

KEEP void body(void) {
  calls.body++;
  coroutine *own = running;
  for (;;) {
    if (!strcmp(how, "jumps") && draw(2) && setjmp(places[own - all]) == 0) jump(draw(5));
    if (!strcmp(how, "nested") && own + 1 < all + COUNT && draw(3)) ask(own + 1);
    if (!strcmp(how, "symmetric")) {
      coroutine *next = &all[draw(COUNT)];
      sum += leaf(2);
      if (next == own || draw(10) == 0) {
        change(&own->pointer, main_pointer);
      } else {
        running = next;
        change(&own->pointer, next->pointer);
      }
      continue;
    }
    nest(!strcmp(how, "deep") ? 300 : draw(6));
  }
}

PLAIN static void start(void) {
  body();
  abort();
}

PLAIN static void make(coroutine *one, char *memory) {
  void **top = (void **)(memory + SIZE - 64);
  *--top = NULL;
  *--top = (void *)start;
  top -= 6;
  one->memory = memory;
  one->pointer = top;
  one->copied = 0;
}

static void handle(int number) {
  (void)number;
  calls.handler++;
  sum += leaf(0);
}

PLAIN static void copy_away(coroutine *one) {
  one->copied = (size_t)(one->memory + SIZE - (char *)one->pointer);
  memcpy(one->copy, one->pointer, one->copied);
}

PLAIN static void round_of(int round, char *shared) {
  coroutine *one = &all[draw(COUNT)];
  if (!strcmp(how, "destroyed")) {
    one = &all[round % COUNT];
    make(one, one->memory);
  } else if (!strcmp(how, "unmapped")) {
    if (one->memory != NULL) munmap(one->memory, SIZE);
    make(one, mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  } else if (!strcmp(how, "copied")) {
    if (one->copied > 0) memcpy(one->pointer, one->copy, one->copied);
    else make(one, shared);
  }
  if (!strcmp(how, "symmetric")) {
    running = one;
    change(&main_pointer, one->pointer);
  } else {
    ask(one);
  }
  if (!strcmp(how, "copied")) copy_away(one);
}

int main(int count, char **words) {
  how = count > 1 ? words[1] : "generators";
  int rounds = count > 2 ? atoi(words[2]) : 1000;
  char *memory = aligned_alloc(4096, COUNT * SIZE), *shared = aligned_alloc(4096, SIZE);
  static char alternate[65536];
  for (int i = 0; i < COUNT; i++) {
    make(&all[i], memory + i * SIZE);
    if (!strcmp(how, "unmapped")) all[i].memory = NULL;
    if (!strcmp(how, "copied")) all[i].copy = malloc(SIZE);
  }
  if (!strcmp(how, "handlers")) {
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigaction(SIGPROF, &action, NULL);
    struct itimerval timer = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_PROF, &timer, NULL);
  }
  for (int i = 0; i < rounds; i++) round_of(i, shared);
  struct itimerval never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_PROF, &never, NULL);
  fprintf(stderr, "calls leaf %ld\ncalls nest %ld\ncalls answer %ld\ncalls ask %ld\ncalls body %ld\n"
          "calls jump %ld\ncalls handle %ld\n", calls.leaf, calls.nest, calls.answer, calls.ask,
          calls.body, calls.jump, calls.handler);
  if (strcmp(how, "handlers") != 0) printf("sum %ld\n", sum);
  return 3;
}
