// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "standers.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "threads.h"
#include "walk.h"

// Of the kernel's rt_sigframe, in words: the restorer, the ucontext_t, siginfo_t.
enum { WORDS = 440 / 8, RIP = 1 + offsetof(ucontext_t, uc_mcontext.gregs) / 8 + REG_RIP };
enum { FLOATS = 1 + offsetof(ucontext_t, uc_mcontext.fpregs) / 8, OWN_STACK = 1 << 16 };
// A stack of two mappings: the upper one holds the thread's first frames.
enum { SPLIT_STACK = 1 << 20, UPPER_PART = 1 << 16 };

struct cts_stander {
  int kind, event;
  uint64_t place, returned_to;
  volatile const uint64_t *frame;  // of `interrupt`
  pthread_t id;
  char *stack;  // see has_made_stack
  _Atomic int32_t thread;
  _Atomic bool there, go;
  bool untouched;  // what only looks like a frame, and what is beside a stack
};

static cts_stander *_Atomic stander;

// As `interrupt` or `nest`, with the stop signal let through.
static void wait_until_told(cts_stander *self) {
  if (self->kind == CTS_STANDS_PENDING) {
    self->there = true;
    while (!cts_stop_is_pending()) {}
  }
  if (self->kind == CTS_STANDS_ASLEEP || self->kind == CTS_STANDS_PENDING) {
    poll(&(struct pollfd){.fd = self->event, .events = POLLIN}, 1, -1);
    return;
  }
  self->there = true;
  while (!self->go) {}
}

// What only looks like the frame, each by one thing: 0 is a copy, with floating-point state elsewhere,
// as a profiler may keep it; 1 is not at 8 behind a multiple of 16.
static void forge(volatile uint64_t *copy, int kind, const volatile uint64_t *frame) {
  for (int i = 0; i < WORDS; i++) copy[i] = frame[i];
  if (kind != 0) copy[FLOATS] = ((uint64_t)copy + 511) & ~63ul;
  switch (kind) {
    case 2: copy[0] = (uint64_t)forge; break;     // not the restorer
    case 3: copy[1] = 8; break;                   // no flag of a ucontext_t
    case 4: copy[2] = 1; break;                   // uc_link
    case 5: copy[RIP + 2] = 0x23; break;          // CS of 32-bit code
    case 6: copy[RIP + 1] &= ~0x200ul; break;     // EFLAGS without interrupts
    default: break;
  }
}

static __attribute__((noinline)) void wait_beside_copies(cts_stander *self) {
  enum { COPIES = 7 };
  _Alignas(64) volatile uint64_t copies[COPIES][WORDS + 1];
  uint64_t expected[COPIES][WORDS + 1];
  volatile uint64_t place = self->place;
  for (int i = 0; i < COPIES; i++) forge(&copies[i][i != 1], i, self->frame);
  for (int i = 0; i < COPIES * (WORDS + 1); i++) expected[0][i] = copies[0][i];
  wait_until_told(self);
  self->untouched &= place == self->place;
  for (int i = 0; i < COPIES * (WORDS + 1); i++)
    self->untouched &= copies[0][i] == expected[0][i];
}

// Its frame reaches from the upper part of the stack into the lower one.
static __attribute__((noinline)) void wait_far_below(cts_stander *self) {
  volatile char room[2 * UPPER_PART];
  room[0] = 1;
  wait_beside_copies(self);
  room[sizeof room - 1] = room[0];
}

// Runs with every signal blocked, on top of `interrupt`. CTS_STANDS_AT_RETURN: returns as if
// `interrupt` had returned too, to its frame's first word, at the moment at which the stop signal is
// waiting.
static void nest(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  cts_stander *self = stander;
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  self->there = true;
  if (self->kind != CTS_STANDS_AT_RETURN) return wait_until_told(self);
  while (!cts_stop_is_pending()) {}
  registers[REG_RIP] = (greg_t)self->frame[0];
  registers[REG_RSP] = (greg_t)&self->frame[1];
}

// Interrupts the thread at its place.
static void interrupt(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  cts_stander *self = stander;
  self->frame = (const uint64_t *)context - 1;
  bool nests = self->kind == CTS_STANDS_IN_NESTED || self->kind == CTS_STANDS_AT_RETURN;
  if (nests) raise(SIGURG);
  else if (self->kind == CTS_STANDS_ON_SPLIT_STACK) wait_far_below(self);
  else wait_beside_copies(self);
  self->returned_to = self->frame[RIP];
}

// Runs with every signal blocked; returns, as by a call, to the place.
static void go_there(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  cts_stander *self = stander;
  if (self->kind == CTS_STANDS) {
    self->there = true;
    while (!cts_stop_is_pending()) {}
  } else {
    raise(SIGUSR2);  // delivered at the place, when this handler has returned
  }
  cts_return_into(context, self->place);
}

static void *live(void *context) {
  cts_stander *self = context;
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, NULL);
  self->thread = cts_this_thread();
  // Behind its own stack something that nobody may read: a page of it is there once one has.
  int file = memfd_create("beside", MFD_CLOEXEC);
  char *own = mmap(NULL, 2 * OWN_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (ftruncate(file, OWN_STACK) != 0 ||
      mmap(own + OWN_STACK, OWN_STACK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) ==
        MAP_FAILED) abort();
  sigaltstack(&(stack_t){.ss_sp = own, .ss_size = OWN_STACK}, NULL);
  cts_signal_itself(SIGUSR1);
  sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
  struct stat beside;
  self->untouched &= fstat(file, &beside) == 0 && beside.st_blocks == 0;
  munmap(own, 2 * OWN_STACK);
  close(file);
  return NULL;
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags, bool alone) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
  if (alone) sigfillset(&action.sa_mask);
  sigaction(signal, &action, NULL);
}

// As mlock does too, madvise splits the mapping.
static bool split(const cts_stander *self) {
  return madvise(self->stack + SPLIT_STACK - UPPER_PART, UPPER_PART, MADV_DONTFORK) == 0;
}

static bool has_made_stack(int kind) {
  return kind == CTS_STANDS_ON_SPLIT_STACK || kind == CTS_STANDS_ON_SHARED_STACK ||
         kind == CTS_STANDS_ON_FILES_STACK;
}

static bool make_stack(cts_stander *self, pthread_attr_t *attributes) {
  bool is_files = self->kind != CTS_STANDS_ON_SPLIT_STACK;
  int file = is_files ? memfd_create("stack", MFD_CLOEXEC) : -1;
  if (is_files && ftruncate(file, SPLIT_STACK) != 0) return false;
  int flags = is_files ? 0 : MAP_ANONYMOUS;
  flags |= self->kind == CTS_STANDS_ON_SHARED_STACK ? MAP_SHARED : MAP_PRIVATE;
  self->stack = mmap(NULL, SPLIT_STACK, PROT_READ | PROT_WRITE, flags, file, 0);
  if (is_files) close(file);
  return self->stack != MAP_FAILED && (is_files || split(self)) &&
         (errno = pthread_attr_setstack(attributes, self->stack, SPLIT_STACK)) == 0;
}

cts_stander *cts_stander_start(int kind, uint64_t run, int offset) {
  cts_stander *self = calloc(1, sizeof *self);
  if (self == NULL) return NULL;
  self->kind = kind;
  self->untouched = true;
  self->place = run + (uint64_t)offset;
  self->event = eventfd(0, EFD_CLOEXEC);
  bool own = kind == CTS_STANDS_IN_OWN_STACK;
  handle(SIGUSR1, go_there, 0, true);
  handle(SIGUSR2, interrupt, own ? SA_ONSTACK : 0, kind == CTS_STANDS_PENDING);
  handle(SIGURG, nest, kind == CTS_STANDS_IN_NESTED ? SA_ONSTACK : 0, kind == CTS_STANDS_AT_RETURN);
  stander = self;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  if (has_made_stack(kind) && !make_stack(self, &attributes)) return NULL;
  if ((errno = pthread_create(&self->id, &attributes, live, self)) != 0) return NULL;
  if (kind != CTS_STANDS_ASLEEP)
    while (!self->there) {}
  else
    cts_wait_until_asleep(&self->thread, SYS_poll);
  return self;
}

int32_t cts_stander_thread(const cts_stander *self) { return self->thread; }

void cts_stander_wake(cts_stander *self) {
  uint64_t one = 1;
  if (write(self->event, &one, sizeof one) < 0) abort();
}

uint64_t cts_stander_stop(cts_stander *self, bool *untouched) {
  self->go = true;
  cts_stander_wake(self);
  pthread_join(self->id, NULL);
  stander = NULL;
  uint64_t returned_to = self->returned_to;
  *untouched = self->untouched;
  close(self->event);
  if (self->stack) munmap(self->stack, SPLIT_STACK);
  free(self);
  return returned_to;
}
