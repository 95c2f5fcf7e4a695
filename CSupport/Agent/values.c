// SPDX-License-Identifier: Apache-2.0
//
// Arguments and results (--args). For each function that the rules name, the recorder says which values
// there are and where (nrec_fetch). They become one event, VALUES, before the function's ENTRY or EXIT.
// It is composed in the chunk, so that it needs no room on the program's stack.
//
// The vector registers are as the function has them: nothing in the agent uses them.
//
// Memory that a value points to is read by process_vm_readv(2), which fails where a load would fault, and
// also where another thread unmaps the page at that moment. Where no system call may be made, only the
// thread's own stack is read.
//
// The fetches of all modules are one table in the order of functions. Numbers are never used again and
// ascend from module to module, so it only grows: whoever reads it takes no lock.

#define _GNU_SOURCE
#include <sys/uio.h>

#include "agent.h"
#include "syscalls.h"

enum { PAGE = 4096, FIRST_CAPACITY = PAGE / sizeof(nrec_fetch) - 1, HEAD = 8, LONGEST_EVENT = 8 };

/// A std::string longer than this is none: its memory holds something else.
static const uint64_t LONGEST_STRING = (uint64_t)1 << 40;

typedef struct table {
  uint32_t count, capacity;
  uint64_t padding;
  nrec_fetch fetches[];
} table;

static table *known;  // a fork copies it as it is

// --- the table ----------------------------------------------------------------------------------

static bool is_sound(const nrec_fetch *one) {
  return one->moment <= NREC_FETCH_TIMED && one->source < NREC_SOURCES && one->form < NREC_FORMS &&
         one->bytes >= 1 && one->bytes <= 8 && one->offset < NREC_MOST_STACK_BYTES;
}

bool nag_values_are_sound(const nrec_fetch *fetches, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (!is_sound(&fetches[i]) || (i > 0 && fetches[i].function < fetches[i - 1].function))
      return false;
  return true;
}

static size_t bytes_of(uint32_t capacity) {
  return nag_whole_pages(sizeof(table) + (size_t)capacity * sizeof(nrec_fetch));
}

// The old one stays: somebody may be reading it. All old ones together are no larger than the new one.
static table *grown(table *old, uint32_t needed) {
  uint32_t capacity = old == NULL ? FIRST_CAPACITY : old->capacity;
  while (capacity < needed) capacity *= 2;
  if (old != NULL && capacity == old->capacity) return old;
  table *fresh = nag_pages(bytes_of(capacity));
  if (fresh == NULL) return NULL;
  fresh->capacity = capacity;
  if (old == NULL) return fresh;
  fresh->count = old->count;
  nag_copy(fresh->fetches, old->fetches, old->count * sizeof(nrec_fetch));
  return fresh;
}

bool nag_values_add(const nrec_fetch *fetches, uint32_t count) {
  uint32_t had = known == NULL ? 0 : known->count;
  bool ascends = had == 0 || known->fetches[had - 1].function < fetches[0].function;
  if (!ascends || count > (UINT32_MAX >> 4) - had) return false;
  table *all = grown(known, had + count);
  if (all == NULL) return false;
  nag_copy(all->fetches + had, fetches, count * sizeof *fetches);
  __atomic_store_n(&all->count, had + count, __ATOMIC_RELEASE);
  __atomic_store_n(&known, all, __ATOMIC_RELEASE);
  return true;
}

void nag_values_forget(void) {
  if (known != NULL) nag_unmap(known, bytes_of(known->capacity));
  known = NULL;
}

typedef struct range {
  const nrec_fetch *next, *end;
} range;

// From the first fetch of the function on.
static range find(uint32_t function) {
  const table *all = __atomic_load_n(&known, __ATOMIC_ACQUIRE);
  if (all == NULL) return (range){NULL, NULL};
  uint32_t low = 0, count = __atomic_load_n(&all->count, __ATOMIC_ACQUIRE), high = count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (all->fetches[middle].function < function) low = middle + 1;
    else high = middle;
  }
  return (range){all->fetches + low, all->fetches + count};
}

bool nag_values_has(uint32_t function, int32_t moment) {
  for (range r = find(function); r.next < r.end && r.next->function == function; r.next++)
    if (moment < 0 || r.next->moment == moment) return true;
  return false;
}

// --- reading ------------------------------------------------------------------------------------

// Of `bytes` at `from`, as many as can be read.
static uint32_t read_some(void *to, uint64_t from, uint32_t bytes) {
  if (bytes == 0) return 0;
  bool is_own = from >= nag_self.mapped_low && from < nag_self.stack_high &&
                nag_self.stack_high - from >= bytes;
  if (is_own) {
    nag_copy(to, (const void *)from, bytes);
    return bytes;
  }
  if (nag_is_confined || nag_config.forbids_reading) return 0;
  // A part that cannot be read whole is not read: one part for each page.
  uint32_t here = PAGE - (uint32_t)(from % PAGE);
  if (here > bytes) here = bytes;
  struct iovec local = {to, bytes};
  struct iovec parts[2] = {{(void *)from, here}, {(void *)(from + here), bytes - here}};
  int64_t got = NAG_CALL(SYS_process_vm_readv, nag_thread_id(), &local, 1, parts,
                         here < bytes ? 2 : 1, 0);
  return got < 0 ? 0 : (uint32_t)got;
}

// The functions of this part write a value at `to`, and return its length: at most
// 1 + NREC_LONGEST_TEXT. There is room for one byte more.

static uint32_t write_mark(uint8_t *to, uint8_t mark) {
  *to = mark;
  return 1;
}

static uint32_t write_text(uint8_t *to, uint64_t from) {
  if (from == 0) return write_mark(to, NREC_VALUE_NULL);
  uint32_t got = read_some(to + 1, from, NREC_LONGEST_TEXT + 1), length = 0;
  if (got == 0) return write_mark(to, NREC_VALUE_UNREADABLE);
  while (length < got && to[1 + length] != 0) length++;
  bool is_cut = length == got;
  if (length > NREC_LONGEST_TEXT) length = NREC_LONGEST_TEXT;
  *to = (uint8_t)(length | (is_cut ? NREC_VALUE_CUT : 0));
  return 1 + length;
}

static uint32_t write_characters(uint8_t *to, uint64_t from, uint64_t size) {
  if (size > LONGEST_STRING) return write_mark(to, NREC_VALUE_UNREADABLE);
  uint32_t wanted = size < NREC_LONGEST_TEXT ? (uint32_t)size : NREC_LONGEST_TEXT;
  uint32_t got = read_some(to + 1, from, wanted);
  if (got == 0 && size > 0) return write_mark(to, NREC_VALUE_UNREADABLE);
  *to = (uint8_t)(got | (got < size ? NREC_VALUE_CUT : 0));
  return 1 + got;
}

// struct { char *data; size_t size; ... }
static uint32_t write_libstdcxx(uint8_t *to, uint64_t from) {
  uint64_t words[2];
  if (from == 0) return write_mark(to, NREC_VALUE_NULL);
  if (read_some(words, from, sizeof words) < sizeof words)
    return write_mark(to, NREC_VALUE_UNREADABLE);
  return write_characters(to, words[0], words[1]);
}

// Short: the first byte is twice the size, the characters follow. Long: its lowest bit is set, then the
// size and the pointer.
static uint32_t write_libcxx(uint8_t *to, uint64_t from) {
  uint64_t words[3];
  if (from == 0) return write_mark(to, NREC_VALUE_NULL);
  if (read_some(words, from, sizeof words) < sizeof words)
    return write_mark(to, NREC_VALUE_UNREADABLE);
  if (words[0] & 1) return write_characters(to, words[2], words[1]);
  return write_characters(to, from + 1, (words[0] & 0xff) >> 1);
}

// False: it cannot be read.
static bool word_of(const nrec_fetch *one, const nag_registers *registers, const uint64_t *location,
                    uint64_t *word) {
  switch (one->source) {
    case NREC_SOURCE_RDI: *word = registers->rdi; return true;
    case NREC_SOURCE_RSI: *word = registers->rsi; return true;
    case NREC_SOURCE_RDX: *word = registers->rdx; return true;
    case NREC_SOURCE_RCX: *word = registers->rcx; return true;
    case NREC_SOURCE_R8: *word = registers->r8; return true;
    case NREC_SOURCE_R9: *word = registers->r9; return true;
    case NREC_SOURCE_RAX: *word = registers->rax; return true;
    case NREC_SOURCE_STACK:
      return location != NULL &&
             read_some(word, (uint64_t)(location + 1) + one->offset, sizeof *word) == sizeof *word;
    default: *word = nag_vector(one->source - NREC_SOURCE_XMM0); return true;
  }
}

static uint32_t write_value(uint8_t *to, const nrec_fetch *one, const nag_registers *registers,
                            const uint64_t *location) {
  uint64_t word;
  if (!word_of(one, registers, location, &word)) return write_mark(to, NREC_VALUE_UNREADABLE);
  switch (one->form) {
    case NREC_FORM_TEXT: return write_text(to, word);
    case NREC_FORM_LIBSTDCXX: return write_libstdcxx(to, word);
    case NREC_FORM_LIBCXX: return write_libcxx(to, word);
    default:
      *to = one->bytes;
      nag_copy(to + 1, &word, one->bytes);
      return 1 + one->bytes;
  }
}

void nag_values_record(uint32_t function, uint8_t moment, const nag_registers *registers,
                       const uint64_t *location, int32_t more_open) {
  range r = find(function);
  uint32_t count = 0;
  for (const nrec_fetch *one = r.next; one < r.end && one->function == function; one++)
    if (one->moment == moment && count < NREC_MOST_VALUES) count++;
  const uint32_t room = HEAD + count * (1 + NREC_LONGEST_TEXT) + 1 + LONGEST_EVENT;
  if (count == 0 || !nag_event_make_room_for(room, more_open)) return;
  uint8_t *event = nag_chunk(nag_self.buffer) + (*nag_state(nag_self.buffer) & 0xffff);
  uint32_t length = 0;
  for (const nrec_fetch *one = r.next; count > 0; one++) {
    if (one->moment != moment) continue;
    length += write_value(event + HEAD + length, one, registers, location);
    count--;
  }
  uint64_t last = *nag_state(nag_self.buffer) >> 16;
  uint64_t head = (uint64_t)function << 32 | (uint64_t)length << 16 | (uint64_t)moment << 8 |
                  NREC_EVENT_VALUES;
  nag_event_append(head, HEAD + length, last);
}
