// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "source_lines.h"

enum { SLOTS = 2 * NSL_MOST_FILES };

struct nsl_names {
  nsl_shared *shared;
  uint32_t slots[SLOTS];      // a file's place, plus 1
};

nsl_names *nsl_names_make(nsl_shared *shared) {
  nsl_names *names = calloc(1, sizeof *names);
  if (names != NULL) names->shared = shared;
  return names;
}

static uint32_t hash_of(const char *name, size_t length) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < length; i++) hash = (hash ^ (uint8_t)name[i]) * 16777619u;
  return hash;
}

static int64_t add(nsl_shared *shared, const char *name, size_t length) {
  if (shared->files >= NSL_MOST_FILES) return -1;
  // The last byte stays a NUL.
  if (length + 1 >= NSL_TEXT_BYTES - shared->text_bytes) return -1;
  shared->names[shared->files] = shared->text_bytes;
  memcpy(shared->text + shared->text_bytes, name, length);
  shared->text_bytes += (uint32_t)length + 1;
  return shared->files++;
}

int64_t nsl_name(nsl_names *names, const char *name) {
  nsl_shared *shared = names->shared;
  size_t length = strnlen(name, NSL_LONGEST_NAME + 1);
  if (length == 0 || length > NSL_LONGEST_NAME) return -1;
  // There are twice as many slots as files.
  for (uint32_t slot = hash_of(name, length) % SLOTS;; slot = (slot + 1) % SLOTS) {
    if (names->slots[slot] == 0) {
      int64_t file = add(shared, name, length);
      if (file < 0) return -1;
      names->slots[slot] = (uint32_t)file + 1;
    }
    uint32_t file = names->slots[slot] - 1;
    if (strcmp(shared->text + shared->names[file], name) == 0) return file;
  }
}
