// SPDX-License-Identifier: Apache-2.0

#include "CDebugFiles.h"

#include <pthread.h>

// Eight tables, so that eight bytes are taken at a time: a debug file has hundreds of megabytes, and
// a program waits while it is read. tables[k][b] is the checksum of the byte b with k zeros after it.
static uint32_t tables[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_tables(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    tables[0][byte] = crc;
  }
  for (int zeros = 1; zeros < 8; zeros++)
    for (uint32_t byte = 0; byte < 256; byte++) {
      uint32_t crc = tables[zeros - 1][byte];
      tables[zeros][byte] = crc >> 8 ^ tables[0][crc & 255];
    }
}

uint32_t ndbg_crc32(uint32_t crc, const uint8_t *bytes, size_t count) {
  pthread_once(&once, make_tables);
  crc = ~crc;
  for (; count >= 8; bytes += 8, count -= 8)
    crc = tables[7][(crc ^ bytes[0]) & 255] ^ tables[6][(crc >> 8 ^ bytes[1]) & 255]
        ^ tables[5][(crc >> 16 ^ bytes[2]) & 255] ^ tables[4][crc >> 24 ^ bytes[3]]
        ^ tables[3][bytes[4]] ^ tables[2][bytes[5]] ^ tables[1][bytes[6]] ^ tables[0][bytes[7]];
  for (; count > 0; bytes++, count--) crc = crc >> 8 ^ tables[0][(crc ^ bytes[0]) & 255];
  return ~crc;
}
