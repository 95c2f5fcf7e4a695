// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "placement.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <sys/mman.h>

void nul_replace_with_nothing(void *handle, nul_placement *placement) {
  *placement = (nul_placement){0};
  dlclose(handle);
}

void nul_replace_with_memory(void *handle, uint64_t start, size_t length,
                             nul_placement *placement) {
  const int protection = PROT_READ | PROT_WRITE, kind = MAP_PRIVATE | MAP_ANONYMOUS;
  *placement = (nul_placement){0};
  dlclose(handle);
  void *memory = mmap(NULL, length, protection, kind, -1, 0);
  placement->landed = memory == (void *)start;
  if (memory != MAP_FAILED && !placement->landed) {
    munmap(memory, length);
    memory = mmap((void *)start, length, protection, kind | MAP_FIXED_NOREPLACE, -1, 0);
    placement->placed = memory == (void *)start;
  }
  if (memory == MAP_FAILED) placement->error = errno;
  else placement->start = memory;
}

void nul_replace_with_module(void *handle, uint64_t start, const char *path,
                             nul_placement *placement) {
  *placement = (nul_placement){0};
  dlclose(handle);
  placement->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (placement->handle == NULL) {
    placement->error = ENOENT;
    return;
  }
  struct link_map *map = NULL;
  dlinfo(placement->handle, RTLD_DI_LINKMAP, &map);
  placement->start = (void *)map->l_addr;
  placement->landed = map->l_addr == start;
}

int nul_open_text(uint64_t start, uint64_t end) {
  uint64_t first = start & ~(uint64_t)4095, last = (end + 4095) & ~(uint64_t)4095;
  return mprotect((void *)first, last - first, PROT_READ | PROT_WRITE | PROT_EXEC) ? errno : 0;
}
