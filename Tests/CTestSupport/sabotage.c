// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "sabotage.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

static void strike(const cts_saboteur *saboteur) {
  void *page = (void *)saboteur->page;
  switch (saboteur->deed) {
    case CTS_REPLACE_PAGE:
      if (mmap(page, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, saboteur->file,
               saboteur->offset) != page) abort();
      break;
    case CTS_UNMAP_PAGE: munmap(page, PAGE); break;
    case CTS_CHANGE_BYTE: *saboteur->alias = 0xcc; break;
    case CTS_LOCK_PAGE: mprotect(page, PAGE, PROT_NONE); break;
    default: break;
  }
}

bool cts_sabotage(void *context, uint8_t kind, uint8_t length, uint64_t target, uint64_t address,
                  const uint8_t *bytes) {
  cts_saboteur *saboteur = context;
  saboteur->calls++;
  bool confirmed =
    saboteur->inner(saboteur->inner_context, kind, length, target, address, bytes);
  if (address == saboteur->when) strike(saboteur);
  return confirmed;
}

void *cts_share_page(uint64_t address) {
  void *page = (void *)address;
  int file = memfd_create("page", MFD_CLOEXEC);
  if (file < 0) return NULL;
  void *alias = MAP_FAILED;
  if (ftruncate(file, PAGE) == 0 && pwrite(file, page, PAGE, 0) == PAGE)
    alias = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (alias != MAP_FAILED && mmap(page, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, file,
                                  0) == MAP_FAILED) {
    munmap(alias, PAGE);
    alias = MAP_FAILED;
  }
  close(file);
  return alias == MAP_FAILED ? NULL : alias;
}
