// SPDX-License-Identifier: Apache-2.0
//
// The return addresses of frames that seemed to be over, and whose slots other calls may have by
// now. A frame below the stack pointer is as a rule one that longjmp or an exception left; but it
// may be a coroutine's, or one that a signal on an alternate stack interrupted, and then it still
// returns to its trampoline. The word in its frame is known to be unchanged, so (location,
// trampoline) finds its return address here.
//
//   set = hash of the location    | way 0 | way 1 | … | way 7 |     the oldest makes room
//
// A location has one entry: a newer frame at the same place proves that the older is over. So a
// loop of longjmps fills no more entries than the stack has frames.

#include "agent.h"
#include "syscalls.h"

enum { SETS = 1 << 13, WAYS = 8 };

typedef struct orphan {
  uint64_t location, trampoline, return_address;
} orphan;

static orphan (*sets)[WAYS];   // of all threads; copied by a fork as it is
static uint8_t oldest[SETS];

bool nag_orphans_prepare(void) {
  sets = nag_pages(sizeof(orphan[SETS][WAYS]));
  return sets != NULL;
}

// The kernel tries the address: the stack it was on may be gone. It is asked to wait for a word
// that is not there, so it does not.
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
    // The return address is lost, so the program cannot go on: it ends here rather than at a random
    // place. The recording says that this is the tracer's fault, not the program's.
    nag_mark_corrupted();
    __builtin_trap();
  }
  return back;
}
