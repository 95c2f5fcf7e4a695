// SPDX-License-Identifier: Apache-2.0
//
// Which functions an event file has calls of: a pass that looks at nothing else. It is the recorder's
// own file, but others may have written to it meanwhile: every length is checked.

#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "CRecorder.h"
#include "nrec_recording.h"

enum { LONGEST_CHUNK = 1 << 30 };

typedef struct marks {
  uint64_t *bits;
  uint32_t count;
} marks;

static void mark(const marks *marks, uint32_t function) {
  if (function < marks->count) marks->bits[function >> 6] |= 1ull << (function & 63);
}

static uint32_t word_at(const uint8_t *bytes) {
  uint32_t word;
  memcpy(&word, bytes, sizeof word);
  return word;
}

static void mark_list(const marks *marks, const uint8_t *list, size_t count) {
  for (size_t i = 0; i < count; i++) mark(marks, word_at(list + 4 * i));
}

// An event of 4 bytes or more that has its first byte to itself. Returns its length; 0: unknown.
static size_t mark_long(const marks *marks, const uint8_t *event, size_t left) {
  switch (event[0]) {
    case NREC_EVENT_UNWOUND: return 4;
    case NREC_EVENT_TIME:
    case NREC_EVENT_EXIT_AT:
    case NREC_EVENT_LOST:
    case NREC_EVENT_PARENT:
    case NREC_EVENT_SPLIT: return 8;
    case NREC_EVENT_ENTRY:
      if (left >= 8) mark(marks, word_at(event + 4));
      return 8;
    case NREC_EVENT_VALUES: return left < 8 ? 8 : 8 + (word_at(event) >> 16);
    case NREC_EVENT_SWITCH: {
      if (left < 8) return 8;
      size_t count = word_at(event) >> 8;
      if (8 + 4 * count <= left) mark_list(marks, event + 8, count);
      return 8 + 4 * count;
    }
    default: return 0;
  }
}

// `has_pairs`: short entries have numbers of pairs, which a long one has defined in this chunk.
static void mark_events(const marks *marks, const uint8_t *at, const uint8_t *end, bool has_pairs) {
  while (at < end) {
    size_t left = (size_t)(end - at), length;
    uint8_t first = at[0];
    if ((first & 3) == 1) {
      length = 1;
    } else if ((first & 3) == 3) {
      length = 2;
    } else if ((first & 3) == 2) {
      length = 2;
      if (!has_pairs && left >= 2) mark(marks, at[1]);
    } else if ((first & 7) == 4) {
      length = 3;
      if (!has_pairs && left >= 3) mark(marks, (at[1] >> 3) | (uint32_t)at[2] << 5);
    } else if ((first & 15) == 8) {
      length = 4;
      if (!has_pairs && left >= 4) mark(marks, word_at(at) >> 19);
    } else {
      length = mark_long(marks, at, left);
    }
    if (length == 0 || length > left) return;
    at += length;
  }
}

static void mark_tree(const marks *marks, const uint8_t *bytes, size_t size) {
  nrec_tree_node node;
  for (size_t at = 0; at + sizeof node <= size; at += sizeof node) {
    memcpy(&node, bytes + at, sizeof node);
    if (node.calls > 0) mark(marks, node.function);
  }
}

static void mark_counts(const marks *marks, const uint8_t *bytes, size_t size, size_t stride,
                        size_t field) {
  uint64_t calls;
  for (size_t at = 0, function = 0; at + stride <= size; at += stride, function++) {
    memcpy(&calls, bytes + at + field, sizeof calls);
    if (calls > 0) mark(marks, (uint32_t)function);
  }
}

static void mark_chunk(const marks *marks, const uint8_t *bytes, bool has_pairs) {
  nrec_chunk_header header;
  memcpy(&header, bytes, sizeof header);
  const uint8_t *content = bytes + sizeof header;
  size_t size = header.size - sizeof header, used = header.state & 0xffff;
  switch (header.kind) {
    case NREC_CHUNK_EVENTS:
      if (header.open_functions > size / 4) return;
      mark_list(marks, content, header.open_functions);
      content += 4 * (size_t)header.open_functions;
      if (used <= header.size && bytes + used > content)
        mark_events(marks, content, bytes + used, has_pairs);
      break;
    case NREC_CHUNK_CALL_TREE: mark_tree(marks, content, size); break;
    case NREC_CHUNK_PROFILE:
      mark_counts(marks, content, size, sizeof(nrec_profile_entry),
                  offsetof(nrec_profile_entry, calls));
      break;
    case NREC_CHUNK_HITS: mark_counts(marks, content, size, sizeof(uint64_t), 0); break;
    default: break;
  }
}

static bool read_all(int file, void *bytes, size_t size, uint64_t offset) {
  for (size_t done = 0; done < size;) {
    ssize_t got = pread(file, (uint8_t *)bytes + done, size - done, (off_t)(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += (size_t)got;
  }
  return true;
}

// The chunk at `offset`, in a buffer that grows with them. False: there is none, or no memory.
static bool read_chunk(int file, uint64_t offset, uint8_t **buffer, size_t *capacity) {
  nrec_chunk_header header;
  if (!read_all(file, &header, sizeof header, offset)) return false;
  if (header.magic != NREC_CHUNK_MAGIC || header.size % NREC_PAGE != 0 || header.size == 0 ||
      header.size > LONGEST_CHUNK)
    return false;
  if (header.size > *capacity) {
    uint8_t *larger = realloc(*buffer, header.size);
    if (larger == NULL) return false;
    *buffer = larger;
    *capacity = header.size;
  }
  if (!read_all(file, *buffer, header.size, offset)) return false;
  return memcmp(*buffer, &header, sizeof header) == 0;
}

bool nrc_mark_called(int file, uint64_t deadline, uint64_t *bits, uint32_t count) {
  const marks marks = {bits, count};
  nrec_file_header header;
  if (!read_all(file, &header, sizeof header, 0) || header.magic != NREC_FILE_MAGIC) return true;
  uint8_t *buffer = NULL;
  size_t capacity = 0;
  uint64_t offset = NREC_PAGE;
  bool has_time = true;
  while (offset < header.next_offset && has_time) {
    if (!read_chunk(file, offset, &buffer, &capacity)) break;
    mark_chunk(&marks, buffer, header.tracer == NREC_TRACER_FUNCTION);
    offset += ((nrec_chunk_header *)buffer)->size;
    has_time = nrc_monotonic_nanoseconds() < deadline;
  }
  free(buffer);
  return has_time || offset >= header.next_offset;
}
