// SPDX-License-Identifier: Apache-2.0
//
// What files of debug symbols need besides ELF: the checksum by which .gnu_debuglink names one, and
// the decoder of the compressed one in .gnu_debugdata.

#ifndef CDEBUGFILES_H
#define CDEBUGFILES_H

#include <stddef.h>
#include <stdint.h>

/// The CRC-32 of `count` bytes at `bytes`, continued from `crc` (0 at the start): the polynomial of
/// IEEE 802.3, as zlib and .gnu_debuglink have it.
uint32_t ndbg_crc32(uint32_t crc, const uint8_t *bytes, size_t count);

/// How a decompression ended.
typedef enum ndbg_xz_result {
  NDBG_XZ_DONE,
  NDBG_XZ_NO_LIBRARY,     ///< there is no liblzma here
  NDBG_XZ_OUT_OF_MEMORY,  ///< the system has none left
  NDBG_XZ_TOO_LARGE,      ///< longer than the limit, or its decoder needs more memory than that
  NDBG_XZ_DAMAGED,        ///< not one whole xz stream
} ndbg_xz_result;

/// Decompresses the xz stream of `size` bytes at `input` to `*length` bytes at `*output`, which the
/// caller frees, with the liblzma of the file name `library` (a name for dlopen). Neither the result
/// nor the decoder's own memory is longer than `limit`. Unless it returns NDBG_XZ_DONE, `*output` is
/// NULL.
///
/// Any thread may call it.
ndbg_xz_result ndbg_xz_decode(const char *library, const uint8_t *input, size_t size, size_t limit,
                              uint8_t **output, size_t *length);

#endif
