// SPDX-License-Identifier: Apache-2.0
//
// liblzma is loaded when a .gnu_debugdata is read, as Capstone is when the first instruction is
// decoded: most runs meet none, and nopscope runs without it. Its header is not needed to build
// nopscope, so the three functions that are called, and what they share, are declared here. That is
// safe: they have had these types in every liblzma.so.5 (src/liblzma/api/lzma/base.h and container.h,
// since 5.0.0), and a change would be another .so.

#include "CDebugFiles.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// lzma_ret and lzma_action.
enum { LZMA_OK = 0, LZMA_STREAM_END = 1, LZMA_MEM_ERROR = 5, LZMA_MEMLIMIT_ERROR = 6 };
enum { LZMA_FINISH = 3 };

// lzma_stream. All zeros is its initial value.
struct stream {
  const uint8_t *next_in;
  size_t available_in;
  uint64_t total_in;
  uint8_t *next_out;
  size_t available_out;
  uint64_t total_out;
  const void *allocator, *internal;
  void *reserved_pointers[4];
  uint64_t reserved_words[2];
  size_t reserved_sizes[2];
  unsigned reserved_enumerations[2];
};
_Static_assert(sizeof(struct stream) == 136, "lzma_stream of x86-64");

struct decoder {
  int (*begin)(struct stream *stream, uint64_t memory_limit, uint32_t flags);
  int (*step)(struct stream *stream, int action);
  void (*end)(struct stream *stream);
};

static bool find_functions(void *library, struct decoder *decoder) {
  const struct { const char *name; void *function; } functions[] = {
    {"lzma_stream_decoder", &decoder->begin},
    {"lzma_code", &decoder->step},
    {"lzma_end", &decoder->end},
  };
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
    void *function = dlsym(library, functions[i].name);
    if (function == NULL) return false;
    memcpy(functions[i].function, &function, sizeof function);
  }
  return true;
}

static ndbg_xz_result result_of(int status) {
  switch (status) {
    case LZMA_STREAM_END: return NDBG_XZ_DONE;
    case LZMA_MEM_ERROR: return NDBG_XZ_OUT_OF_MEMORY;
    case LZMA_MEMLIMIT_ERROR: return NDBG_XZ_TOO_LARGE;
    default: return NDBG_XZ_DAMAGED;
  }
}

// Gives the stream more room: as much as it has filled so far. False if there is none.
static bool grow(struct stream *stream, uint8_t **output, size_t *capacity, size_t limit) {
  size_t wanted = *capacity == 0 ? 64 << 10 : 2 * *capacity;
  if (wanted > limit) wanted = limit;
  uint8_t *bytes = realloc(*output, wanted);
  if (bytes == NULL) return false;
  stream->next_out = bytes + *capacity;
  stream->available_out = wanted - *capacity;
  *output = bytes;
  *capacity = wanted;
  return true;
}

static ndbg_xz_result run(const struct decoder *decoder, struct stream *stream, size_t limit,
                          uint8_t **output) {
  size_t capacity = 0;
  int status = decoder->begin(stream, limit, 0);
  while (status == LZMA_OK) {
    if (stream->available_out == 0) {
      if (capacity == limit) return NDBG_XZ_TOO_LARGE;
      if (!grow(stream, output, &capacity, limit)) return NDBG_XZ_OUT_OF_MEMORY;
    }
    status = decoder->step(stream, LZMA_FINISH);
  }
  return result_of(status);
}

ndbg_xz_result ndbg_xz_decode(const char *library, const uint8_t *input, size_t size, size_t limit,
                              uint8_t **output, size_t *length) {
  *output = NULL;
  *length = 0;
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) return NDBG_XZ_NO_LIBRARY;
  struct decoder decoder;
  ndbg_xz_result result = NDBG_XZ_NO_LIBRARY;
  if (find_functions(handle, &decoder)) {
    struct stream stream = {.next_in = input, .available_in = size};
    result = run(&decoder, &stream, limit, output);
    *length = (size_t)stream.total_out;
    decoder.end(&stream);
  }
  dlclose(handle);
  if (result == NDBG_XZ_DONE) return result;
  free(*output);
  *output = NULL;
  *length = 0;
  return result;
}
