// SPDX-License-Identifier: Apache-2.0
//
// The work that a corpus library does before, during and after it is patched: it compresses and
// expands one buffer at several levels and strategies. This file is built into the shared object
// beside zlib's own files.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "zlib.h"

long nopscope_workload(void);

enum { BUFFER_BYTES = 192 * 1024 };

// Half is words of a small vocabulary, half is noise, so that the matcher and stored blocks have
// work.
static void fill(unsigned char *buffer, size_t length) {
  static const char *const words[] = {"call ", "site ", "nop ", "module ", "unload ", "text\n"};
  uint32_t random = 2008;
  size_t at = 0;
  while (at < length) {
    random = random * 1664525u + 1013904223u;
    if ((random >> 30) == 0) {
      buffer[at++] = (unsigned char)(random >> 16);
      continue;
    }
    const char *word = words[(random >> 16) % 6];
    size_t count = strlen(word);
    if (count > length - at) count = length - at;
    memcpy(buffer + at, word, count);
    at += count;
  }
}

// Compresses and expands `input` once, and mixes the packed size and both checksums into `mix`. 0,
// or -1 if zlib failed or the expanded data differs from the input.
static int round_trip(const unsigned char *input, unsigned char *packed, unsigned char *output,
                      int level, int strategy, unsigned long *mix) {
  const uLong room = compressBound(BUFFER_BYTES);
  z_stream stream;
  memset(&stream, 0, sizeof stream);
  if (deflateInit2(&stream, level, Z_DEFLATED, 15, 8, strategy) != Z_OK) return -1;
  stream.next_in = (Bytef *)input;
  stream.avail_in = BUFFER_BYTES;
  stream.next_out = packed;
  stream.avail_out = (uInt)room;
  int status = deflate(&stream, Z_FINISH);
  const uLong size = stream.total_out;
  if (deflateEnd(&stream) != Z_OK || status != Z_STREAM_END) return -1;

  uLongf expanded = BUFFER_BYTES;
  if (uncompress(output, &expanded, packed, size) != Z_OK) return -1;
  if (expanded != BUFFER_BYTES || memcmp(input, output, BUFFER_BYTES) != 0) return -1;
  *mix = *mix * 31 + size;
  *mix = *mix * 31 + adler32(adler32(0, NULL, 0), packed, (uInt)size);
  *mix = *mix * 31 + crc32(crc32(0, NULL, 0), output, BUFFER_BYTES);
  return 0;
}

/// A checksum of all round trips, or a negative number: -1 no memory, -2 zlib failed.
long nopscope_workload(void) {
  static const struct { int level, strategy; } passes[] = {
      {0, Z_DEFAULT_STRATEGY}, {1, Z_DEFAULT_STRATEGY}, {4, Z_DEFAULT_STRATEGY},
      {6, Z_DEFAULT_STRATEGY}, {9, Z_DEFAULT_STRATEGY}, {6, Z_HUFFMAN_ONLY},
      {6, Z_RLE},              {6, Z_FIXED},
  };
  unsigned char *input = malloc(BUFFER_BYTES);
  unsigned char *packed = malloc(compressBound(BUFFER_BYTES));
  unsigned char *output = malloc(BUFFER_BYTES);
  long result = -1;
  if (input != NULL && packed != NULL && output != NULL) {
    unsigned long mix = 17;
    int failed = 0;
    fill(input, BUFFER_BYTES);
    for (size_t i = 0; i < sizeof passes / sizeof passes[0] && !failed; i++)
      failed = round_trip(input, packed, output, passes[i].level, passes[i].strategy, &mix);
    result = failed ? -2 : (long)(mix & 0x7fffffffffffffffUL);
  }
  free(input);
  free(packed);
  free(output);
  return result;
}
