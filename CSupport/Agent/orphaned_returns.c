// SPDX-License-Identifier: Apache-2.0
//
// The return addresses of frames that seemed to be over and whose slots other calls may be using by
// now. A frame below the stack pointer is usually one that longjmp or an exception has left. But it
// may also belong to a coroutine, or be one that a signal on an alternate stack interrupted; such a
// frame still returns to its trampoline. The word in the frame is known to be unchanged, so this
// table finds the return address by (location, trampoline).
//
//   set = hash of the location    | way 0 | way 1 | … | way 7 |     the oldest way is replaced
//
// A location has one entry: a newer frame at the same place proves that the older is over. So a
// loop of longjmps fills no more entries than the stack has frames.

#include "agent.h"
#include "syscalls.h"

enum { SETS = 1 << 13, WAYS = 8 };

typedef struct orphan {
  uint64_t location, trampoline, return_address;
} orphan;

static orphan (*sets)[WAYS];   // of all threads; a fork copies it as it is
static uint8_t oldest[SETS];

bool nag_orphans_prepare(void) {
  sets = nag_pages(sizeof(orphan[SETS][WAYS]));
  return sets != NULL;
}

// Lets the kernel try the address, because the stack that it was on may be gone. The call asks the
// kernel to wait while the word has a value that it does not have, so the call never waits.
bool nag_holds(uint64_t address, uint64_t word) {
  const struct timespec none = {0, 0};
  int64_t status = NAG_CALL(SYS_futex, address, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, ~(uint32_t)word,
                            &none);
  return status != -EFAULT && *(const volatile uint64_t *)address == word;
}

static uint32_t set_of(uint64_t location) {
  return (uint32_t)(location / 8 * 0x9e3779b97f4a7c15u >> 51);
}

static orphan *find(uint64_t location) {
  orphan *set = sets[set_of(location)];
  for (int i = 0; i < WAYS; i++)
    if (set[i].location == location) return &set[i];
  return NULL;
}

void nag_orphan_add(uint64_t location, uint64_t trampoline, uint64_t return_address) {
  nag_lock(&nag_process_state->orphans_lock);
  orphan *entry = find(location);
  uint32_t set = set_of(location);
  for (int i = 0; i < WAYS && entry == NULL; i++)
    if (sets[set][i].location == 0) entry = &sets[set][i];
  if (entry == NULL) entry = &sets[set][oldest[set]++ % WAYS];
  *entry = (orphan){location, trampoline, return_address};
  nag_unlock(&nag_process_state->orphans_lock);
}

uint64_t nag_orphan_take(uint64_t location, uint64_t trampoline) {
  uint64_t back = 0;
  nag_lock(&nag_process_state->orphans_lock);
  orphan *entry = find(location);
  if (entry != NULL && entry->trampoline == trampoline) {
    back = entry->return_address;
    entry->location = 0;
  }
  nag_unlock(&nag_process_state->orphans_lock);
  if (back == 0) {
    // The return address is lost and the program cannot go on. It ends here rather than at a random
    // place. The mark in the recording says that the tracer caused this, not the program.
    nag_mark_corrupted();
    __builtin_trap();
  }
  return back;
}
