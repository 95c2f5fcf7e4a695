// SPDX-License-Identifier: Apache-2.0
//
// Source lines of several modules, read by a process of its own.

#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "source_lines.h"

typedef struct request {
  const char *library;
  const nsl_module *modules;
  uint32_t count;
  uint32_t first;             // from here on
  nsl_shared *shared;
} request;

static void read_all(void *context) {
  const request *request = context;
  nsl_shared *shared = request->shared;
  nsl_dwarf dwarf;
  nsl_names *names = nsl_names_make(shared);
  if (names == NULL) {
    shared->result = NSL_NO_MEMORY;
    return;
  }
  if (!nsl_load_dwarf(request->library, &dwarf)) {
    shared->result = NSL_NO_LIBRARY;
    return;
  }
  nsl_line *lines = shared->lines;
  for (uint32_t i = 0; i < request->count; lines += request->modules[i++].count) {
    if (i < request->first) continue;
    shared->current = i;
    nsl_read_module(&dwarf, names, &request->modules[i], lines);
  }
  shared->result = NSL_DONE;
}

// Reads from a module on. False: a process cannot be made, or has no time left.
static bool run(request *request, uint64_t deadline) {
  nsl_shared *shared = request->shared;
  // What stays where the process is ended, or crashes.
  shared->result = NSL_NO_TIME;
  shared->current = request->first;
  nsl_result result = nsl_in_child(read_all, request, deadline);
  if (result == NSL_NO_MEMORY) shared->result = NSL_NO_MEMORY;
  return result == NSL_DONE;
}

static void read_with_restarts(request *request, uint64_t deadline, nsl_answer *answer) {
  while (run(request, deadline)) {
    if (request->shared->result != NSL_NO_TIME) return;
    // It has crashed, and the modules behind that one are read without it.
    answer->failures++;
    answer->failed = request->shared->current;
    request->first = request->shared->current + 1;
    if (request->first < request->count) continue;
    request->shared->result = NSL_DONE;
    return;
  }
}

nsl_result nsl_read(const char *library, const nsl_module *modules, uint32_t count,
                    uint64_t nanoseconds, nsl_answer *answer) {
  uint64_t deadline = nsl_now() + nanoseconds;
  size_t lines = 0;
  for (uint32_t i = 0; i < count; i++) lines += modules[i].count;
  *answer = (nsl_answer){.size = sizeof(nsl_shared) + lines * sizeof(nsl_line)};
  void *memory = mmap(NULL, answer->size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return NSL_NO_MEMORY;
  nsl_shared *shared = answer->memory = memory;
  request request = {library, modules, count, 0, shared};
  read_with_restarts(&request, deadline, answer);
  shared->text[NSL_TEXT_BYTES - 1] = 0;
  answer->lines = shared->lines;
  answer->names = shared->names;
  answer->text = shared->text;
  answer->files = shared->files < NSL_MOST_FILES ? shared->files : NSL_MOST_FILES;
  answer->text_bytes =
      shared->text_bytes < NSL_TEXT_BYTES ? shared->text_bytes : NSL_TEXT_BYTES;
  return (nsl_result)shared->result;
}

void nsl_free(nsl_answer *answer) {
  if (answer->memory != NULL) munmap(answer->memory, answer->size);
  *answer = (nsl_answer){0};
}
