// SPDX-License-Identifier: Apache-2.0
//
// A thread in a signal handler will continue where the signal interrupted it. That place is stored
// in the frame that the kernel put on a stack when it called the handler (x86-64, rt_sigframe):
//
//   frame + 0    the address of the restorer, to which the handler returns: mov $15, %eax; syscall
//         + 8    ucontext_t: the interrupted registers, RIP among them
//         + 312  siginfo_t
//         + 456  the floating-point state, to which the ucontext_t points
//
// Signal handlers nest, and may run on a stack of their own: a frame there has the interrupted
// stack's SP. So the search goes upwards, from the SP of each thread and then of each frame found,
// to the end of the mapping and over SEARCHED_BYTES at most.
//
// Only private anonymous memory is read by loads: elsewhere may be device registers, and reading
// those may have side effects. A stack in shared memory or in a file's is read by
// process_vm_readv(2), which refuses device memory. Where it refuses, the visitor learns that the
// stack cannot be searched.
//
// The search takes a word for a frame's RIP where everything around it is as the kernel writes it
// (is_frame). A copy of a frame does not pass: its ucontext_t points to the floating-point state
// behind the original. The search may find a frame that is over and whose memory nothing has used
// since. That does no harm, because nobody reads such a frame.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include "faults.h"
#include "internal.h"
#include "memory_reading.h"

enum {
  // The most stack that is searched for a signal handler and the handlers that interrupted it.
  // Alternate stacks have a tenth of it.
  SEARCHED_BYTES = 1 << 20,
  PAGE = 4096,
  MAX_STACKS = 2 * NPC_STOP_MAX_THREADS,
  CONTEXT = 8,
  RSP = CONTEXT + offsetof(ucontext_t, uc_mcontext.gregs) + REG_RSP * 8,
  RIP = CONTEXT + offsetof(ucontext_t, uc_mcontext.gregs) + REG_RIP * 8,
  FLAGS = CONTEXT + offsetof(ucontext_t, uc_mcontext.gregs) + REG_EFL * 8,
  SEGMENTS = CONTEXT + offsetof(ucontext_t, uc_mcontext.gregs) + REG_CSGSFS * 8,
  FLOATING_POINT = CONTEXT + offsetof(ucontext_t, uc_mcontext.fpregs),
  FRAME_BYTES = FLOATING_POINT + 8,
};

// Which file a mapping is of.
typedef struct { uint64_t device, inode; } backing;

typedef struct {
  npc_stopped of;
  uint64_t start, end;
  backing file;
  bool is_anonymous;
} stack;

// Guarded by the patch lock.
static stack stacks[MAX_STACKS];
static size_t stack_count;
static bool are_faults_caught;

static bool load(void *to, uint64_t from, size_t length) {
  return are_faults_caught ? npc_read_fixed_up(to, (const void *)from, length)
                           : npc_read_asking(to, (const void *)from, length);
}

static bool load_from(const stack *s, void *to, uint64_t from, size_t length) {
  if (s->is_anonymous) return load(to, from, length);
  struct iovec here = {to, length}, there = {(void *)from, length};
  return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)length;
}

// --- which memory is a stack's ------------------------------------------------------------------

typedef struct { int file; char buffer[PAGE]; ssize_t length, at; } maps_reader;

// Reads the next line of /proc/self/maps, cut to `size`. False at the end of the file, with errno
// 0, or on failure.
static bool next_line(maps_reader *reader, char *line, size_t size) {
  for (size_t length = 0;;) {
    if (reader->at == reader->length) {
      errno = 0;
      reader->at = 0;
      reader->length = read(reader->file, reader->buffer, sizeof reader->buffer);
      if (reader->length <= 0) {
        reader->length = 0;
        return false;
      }
    }
    char byte = reader->buffer[reader->at++];
    if (byte != '\n') {
      if (length + 1 < size) line[length++] = byte;
      continue;
    }
    line[length] = 0;
    return true;
  }
}

typedef struct {
  uint64_t start, end;
  backing file;
  bool is_anonymous;  // and private
} mapping;

// "START-END rw?p OFFSET MAJOR:MINOR INODE ...". False where it cannot be written: no stack is
// there.
static bool read_mapping(const char *line, mapping *m) {
  char *at;
  m->start = strtoull(line, &at, 16);
  if (*at != '-') return false;
  m->end = strtoull(at + 1, &at, 16);
  if (strncmp(at, " rw", 3) != 0) return false;
  bool is_private = at[4] == 'p';
  strtoull(at + 5, &at, 16);
  m->file.device = strtoull(at, &at, 16) << 32;
  if (*at != ':') return false;
  m->file.device |= strtoull(at + 1, &at, 16);
  m->file.inode = strtoull(at, NULL, 10);
  m->is_anonymous = is_private && m->file.device == 0 && m->file.inode == 0;
  return true;
}

// A stack may have several mappings, one behind the other: mlock and madvise split them, and a
// library's variables begin in its file's pages and go on in anonymous ones.
static bool goes_on_in(const stack *s, const mapping *m) {
  bool is_same = s->file.device == m->file.device && s->file.inode == m->file.inode;
  return s->end == m->start && (m->is_anonymous || (is_same && !s->is_anonymous));
}

// Finds the ends of the stacks from `first` on. 0 or an errno.
static int find_ends(size_t first) {
  maps_reader reader = {.file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
  if (reader.file < 0) return errno;
  char line[128];
  mapping m;
  while (next_line(&reader, line, sizeof line)) {
    if (!read_mapping(line, &m)) continue;
    for (size_t i = first; i < stack_count; i++) {
      stack *s = &stacks[i];
      bool is_first = s->start >= m.start && s->start < m.end;
      if (is_first) s->file = m.file, s->is_anonymous = m.is_anonymous;
      if (!is_first && !goes_on_in(s, &m)) continue;
      s->end = m.end - s->start > SEARCHED_BYTES ? s->start + SEARCHED_BYTES : m.end;
    }
  }
  int error = errno;
  close(reader.file);
  return error;
}

// `sp`: may be just above the frame's start, where the handler has popped the restorer's address by
// returning to it.
static bool add_stack(const npc_stopped *of, uint64_t sp) {
  uint64_t start = (sp - 8) & ~(uint64_t)7;
  for (size_t i = 0; i < stack_count; i++) {
    if (stacks[i].of.thread == of->thread && start >= stacks[i].start && start < stacks[i].end)
      return true;
  }
  if (stack_count == MAX_STACKS) return false;
  stacks[stack_count++] = (stack){.of = *of, .start = start};
  return true;
}

// --- what is a frame ----------------------------------------------------------------------------

static uint64_t word_at(const uint8_t *frame, size_t offset) {
  uint64_t word;
  memcpy(&word, frame + offset, sizeof word);
  return word;
}

// CS of 64-bit code, as the kernel gives it to every program, and 0 for FS and GS.
static bool are_segments(uint64_t word) { return (word & 0xffffffffffff) == 0x33; }

// rt_sigreturn: mov $15, %rax (libc's) or mov $15, %eax; syscall.
static bool is_restorer(uint64_t address) {
  static const uint8_t codes[][9] = {{0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05},
                                     {0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05}};
  uint8_t code[9];
  return (load(code, address, 9) && memcmp(code, codes[0], 9) == 0) ||
         (load(code, address, 7) && memcmp(code, codes[1], 7) == 0);
}

static bool is_frame(const uint8_t *frame, uint64_t address) {
  uint64_t known = 7;  // all known flags: UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS
  uint64_t always = 0x202;  // in EFLAGS: the bit that is always 1, and the interrupt flag
  uint64_t floats = word_at(frame, FLOATING_POINT);
  return address % 16 == 8 && are_segments(word_at(frame, SEGMENTS)) &&
         word_at(frame, CONTEXT + offsetof(ucontext_t, uc_flags)) <= known &&
         word_at(frame, CONTEXT + offsetof(ucontext_t, uc_link)) == 0 &&
         (word_at(frame, FLAGS) & always) == always && word_at(frame, FLAGS) >> 32 == 0 &&
         floats % 64 == 0 && floats > address && floats - address < 512 &&
         is_restorer(word_at(frame, 0));
}

// --- the search ---------------------------------------------------------------------------------

// A copy of one page of a stack. The search loads the words from here.
typedef struct { uint64_t start, words[PAGE / 8]; } page_copy;

// The next place, from `from` on, of a word that may be a frame's segments; the stack's end: there
// is none.
static uint64_t next_segments(const stack *s, page_copy *page, uint64_t from) {
  for (uint64_t at = from; at < s->end; at += 8) {
    uint64_t start = at & ~(uint64_t)(PAGE - 1);
    if (start != page->start) {
      if (!load_from(s, page->words, start, PAGE)) return s->end;
      page->start = start;
    }
    if (are_segments(page->words[at % PAGE / 8])) return at;
  }
  return s->end;
}

// 0, or an errno; `*is_over` is set where the visitor returned false.
static int search(const stack *of, npc_frame_visitor visit, void *context, bool *is_over) {
  stack s = *of;  // a copy: the list may grow
  page_copy page = {.start = 1};
  uint8_t frame[FRAME_BYTES];
  uint64_t first;
  if (!s.is_anonymous && s.end != 0 && !load_from(&s, &first, s.start, sizeof first)) {
    *is_over = !visit(&s.of, NULL, 0, context);
    return 0;
  }
  for (uint64_t at = s.start + SEGMENTS;; at += 8) {
    at = next_segments(&s, &page, at);
    uint64_t address = at - SEGMENTS;
    if (at >= s.end || address + FRAME_BYTES > s.end) return 0;
    if (!load_from(&s, frame, address, sizeof frame) || !is_frame(frame, address)) continue;
    *is_over = !visit(&s.of, (uint64_t *)(address + RIP), word_at(frame, RIP), context);
    if (*is_over) return 0;
    if (!add_stack(&s.of, word_at(frame, RSP))) return EAGAIN;
  }
}

static bool add_thread(const npc_stopped *thread, void *context) {
  (void)context;
  add_stack(thread, thread->sp);
  return true;
}

int npc_signal_frames_visit(npc_frame_visitor visit, void *context) {
  stack_count = 0;
  are_faults_caught = npc_faults_are_caught();
  npc_stop_each(add_thread, NULL);
  bool is_over = false;
  // Stacks that a search finds are searched next. A stack is added only once, so this ends.
  for (size_t first = 0; first < stack_count;) {
    size_t end = stack_count;
    int error = find_ends(first);
    if (error) return error;
    for (; first < end; first++) {
      if (npc_stop_is_overdue()) return ETIMEDOUT;
      error = search(&stacks[first], visit, context, &is_over);
      if (error || is_over) return error;
    }
  }
  return 0;
}
