// SPDX-License-Identifier: Apache-2.0
//
// The return addresses of frames that seemed to be over and whose slots other calls may be using by
// now. A frame below the stack pointer is usually one that longjmp or an exception has left. But it
// may also belong to a coroutine, or be one that a signal on an alternate stack interrupted; such a
// frame still returns to its trampoline. The word in the frame is known to be unchanged, so this
// table finds the return address by (location, trampoline).
//
// None of them may be forgotten: a frame without its return address cannot return. So the table
// grows. Before it does, the entries are dropped whose frames have been overwritten or unmapped:
// those cannot return any more. A location has one entry: a newer frame at the same place proves
// that the older is over. So a loop of longjmps fills no more entries than the stack has frames.
//
// It is a hash table with open addressing: an entry is at the first free place from its hash on, and
// a place that was taken back stays marked until the table is rebuilt.

#include "agent.h"
#include "syscalls.h"

enum { FIRST_CAPACITY = 1024, TAKEN_BACK = 1 };

typedef struct orphan {
  uint64_t location, trampoline, return_address;
} orphan;

// Of all threads; a fork copies it as it is.
static orphan *entries;
static uint64_t capacity, used;  // places, a power of two; how many of them are not free

static bool allocate(uint64_t places) {
  orphan *fresh = nag_pages(places * sizeof(orphan));
  if (fresh == NULL) return false;
  entries = fresh;
  capacity = places;
  used = 0;
  return true;
}

bool nag_orphans_prepare(void) { return allocate(FIRST_CAPACITY); }

// Lets the kernel try the address, because the memory may be gone. The call asks the kernel to wait
// while the word has a value that it does not have, so the call does not wait.
bool nag_holds(uint64_t address, uint64_t word) {
  // A thread's own stack is there for as long as it runs. Of other memory it is not known.
  bool is_own = address - nag_self.stack_low < nag_self.stack_high - nag_self.stack_low;
  if (address >= nag_self.mapped_low && address < nag_self.stack_high)
    return *(const volatile uint64_t *)address == word;
  if (nag_is_confined) return !is_own || *(const volatile uint64_t *)address == word;
  const struct timespec none = {0, 0};
  int64_t status = NAG_CALL(SYS_futex, address, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, ~(uint32_t)word,
                            &none);
  return status != -EFAULT && *(const volatile uint64_t *)address == word;
}

static uint64_t first_place(uint64_t location) {
  return (location / 8 * 0x9e3779b97f4a7c15u >> 32) & (capacity - 1);
}

static orphan *find(uint64_t location) {
  for (uint64_t i = first_place(location); entries[i].location; i = (i + 1) & (capacity - 1))
    if (entries[i].location == location) return &entries[i];
  return NULL;
}

static void insert(const orphan *one) {
  uint64_t i = first_place(one->location);
  while (entries[i].location) i = (i + 1) & (capacity - 1);
  entries[i] = *one;
  used++;
}

// Drops the entries that cannot return any more. A quarter of the places are in use then at most.
static bool rebuild(void) {
  orphan *old = entries;
  uint64_t old_capacity = capacity, live = 0, places = FIRST_CAPACITY;
  for (uint64_t i = 0; i < old_capacity; i++) {
    bool is_live = old[i].location > TAKEN_BACK && nag_holds(old[i].location, old[i].trampoline);
    if (is_live) live++;
    else if (old[i].location) old[i].location = TAKEN_BACK;
  }
  while (places < 4 * live) places *= 2;
  if (!allocate(places)) return false;
  for (uint64_t i = 0; i < old_capacity; i++)
    if (old[i].location > TAKEN_BACK) insert(&old[i]);
  nag_unmap(old, old_capacity * sizeof *old);
  return true;
}

bool nag_orphan_add(uint64_t location, uint64_t trampoline, uint64_t return_address) {
  const orphan one = {location, trampoline, return_address};
  nag_lock(&nag_process_state->orphans_lock);
  orphan *entry = find(location);
  bool has_room = entry != NULL || 2 * used < capacity || rebuild();
  if (entry != NULL) *entry = one;
  else if (has_room) insert(&one);
  nag_unlock(&nag_process_state->orphans_lock);
  return has_room;
}

bool nag_orphan_is_there(uint64_t location, uint64_t trampoline) {
  nag_lock(&nag_process_state->orphans_lock);
  const orphan *entry = find(location);
  bool is_there = entry != NULL && entry->trampoline == trampoline;
  nag_unlock(&nag_process_state->orphans_lock);
  return is_there;
}

void nag_orphans_give_back(void) {
  for (uint64_t i = 0; i < capacity; i++) {
    orphan *one = &entries[i];
    if (one->location <= TAKEN_BACK || !nag_holds(one->location, one->trampoline)) continue;
    *(volatile uint64_t *)one->location = one->return_address;
    one->location = TAKEN_BACK;
  }
}

uint64_t nag_orphan_take(uint64_t location, uint64_t trampoline) {
  uint64_t back = 0;
  nag_lock(&nag_process_state->orphans_lock);
  orphan *entry = find(location);
  if (entry != NULL && entry->trampoline == trampoline) {
    back = entry->return_address;
    entry->location = TAKEN_BACK;
  }
  nag_unlock(&nag_process_state->orphans_lock);
  if (back == 0) {
    // The return address is lost and the program cannot go on. It ends here rather than at a random
    // place. The mark in the recording says that the tracer caused this, not the program.
    nag_mark(NREC_FLAG_CORRUPTED | NREC_FLAG_LOST_RETURN);
    __builtin_trap();
  }
  return back;
}
