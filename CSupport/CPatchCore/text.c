// SPDX-License-Identifier: Apache-2.0
//
// The writers: how bytes reach text that is mapped read-only.
//
//   mprotect         Pages are RWX while they are written. Not RW: a thread that runs into a page
//                    without X dies. And where the system forbids making memory executable again
//                    (PR_SET_MDWE, SELinux's execmod), RW could not be undone, while RWX is
//                    refused at the start.
//   /proc/self/mem   No page's protection changes. Kernels from 6.12 on can forbid it.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"
#include "memory_reading.h"
#include "modules.h"

enum { PAGE = 4096 };

static uint64_t page_of(uint64_t address) { return address & ~(uint64_t)(PAGE - 1); }

typedef struct { uint64_t start, end; int protection; } pages;

// The run of adjacent pages of one segment that begins with poke `first`, and the first poke behind
// it. Pages in between without a poke are not opened: nothing about them has been verified.
static size_t page_run(const npc_text *text, const npc_poke *pokes, size_t first, size_t count,
                       pages *run) {
  uint64_t segment_end = UINT64_MAX;
  run->protection = text->protection;
  if (text->module)
    run->protection =
      npc_module_text_at(text->module, pokes[first].address, pokes[first].length, &segment_end);
  run->start = run->end = page_of(pokes[first].address);
  size_t i = first;
  for (; i < count && page_of(pokes[i].address) <= run->end && pokes[i].address < segment_end; i++)
    run->end = page_of(pokes[i].address + pokes[i].length - 1u) + PAGE;
  return i;
}

// Gives every run of pages up to poke `count` its protection and `more`, by mprotect. On failure
// `*done` is the first poke of the run that failed.
static bool protect(const npc_text *text, const npc_poke *pokes, size_t count, int more,
                    size_t *done) {
  pages run;
  for (size_t i = 0; i < count;) {
    size_t next = page_run(text, pokes, i, count, &run);
    *done = i;
    if (mprotect((void *)run.start, run.end - run.start, run.protection | more) != 0) return false;
    i = next;
  }
  *done = count;
  return true;
}

size_t npc_text_find_absent(const npc_poke *pokes, size_t count) {
  uint64_t known = 0;  // the last page looked at
  for (size_t i = 0; i < count; i++) {
    uint64_t ends[2] = {pokes[i].address, pokes[i].address + pokes[i].length - 1u};
    for (int end = 0; end < 2; end++) {
      if (page_of(ends[end]) == known) continue;
      if (!npc_page_is_readable(ends[end])) return i;
      known = page_of(ends[end]);
    }
  }
  return count;
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

// The first write to a page of a private file mapping copies the page. One call per run (Linux
// 5.14) copies all its pages and avoids a page fault for each. Where the call is refused, the
// faults do it.
static void copy_pages(const npc_text *text, const npc_poke *pokes, size_t count) {
  pages run;
  for (size_t i = 0; i < count;) {
    i = page_run(text, pokes, i, count, &run);
    madvise((void *)run.start, run.end - run.start, MADV_POPULATE_WRITE);
  }
}

bool npc_text_open(npc_text *text, const npc_poke *pokes, size_t count) {
  size_t done;
  text->memory = -1;
  if (text->writer == NPC_WRITER_PROC_MEM) {
    text->memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    return text->memory >= 0;
  }
  if (protect(text, pokes, count, PROT_WRITE, &done)) {
    copy_pages(text, pokes, count);
    return true;
  }
  int error = errno;
  size_t closed;
  // The protection of the run that failed may have changed in part; closing the run too does no
  // harm.
  pages run;
  protect(text, pokes, page_run(text, pokes, done, count, &run), 0, &closed);
  errno = error;
  return false;
}

int npc_text_close(npc_text *text, const npc_poke *pokes, size_t count) {
  if (text->writer == NPC_WRITER_PROC_MEM) {
    close(text->memory);
    text->memory = -1;
    return 0;
  }
  int error = 0;
  pages run;
  for (size_t i = 0; i < count;) {
    i = page_run(text, pokes, i, count, &run);
    if (mprotect((void *)run.start, run.end - run.start, run.protection) == 0) continue;
    // One call failed (a page in the run was unmapped, say): close page by page, so that no other
    // page stays open because of it.
    for (uint64_t page = run.start; page < run.end; page += PAGE) {
      if (mprotect((void *)page, PAGE, run.protection) != 0 && errno != ENOMEM) error = errno;
    }
  }
  return error;
}

bool npc_text_write_memory(const npc_text *text, uint64_t address, const uint8_t *bytes,
                           size_t length) {
  ssize_t written = pwrite(text->memory, bytes, length, (off_t)address);
  if (written == (ssize_t)length) return true;
  if (written >= 0) errno = EIO;
  return false;
}
