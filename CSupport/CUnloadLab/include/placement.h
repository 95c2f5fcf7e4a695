// SPDX-License-Identifier: Apache-2.0
//
// Controls what is mapped where a module was. The close and the mapping that follows it are one
// call, and nothing in between could map memory by itself.

#ifndef NUL_PLACEMENT_H
#define NUL_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nul_placement {
  void *start;          ///< of the mapping; NULL: none was made
  void *handle;         ///< of the module that was opened instead
  bool landed;          ///< the kernel put it where the module was, with no address hint
  bool placed;          ///< it missed, and was put there by its address
  int32_t error;        ///< errno, where neither came about
} nul_placement;

/// dlclose and nothing else: the address stays unmapped.
void nul_replace_with_nothing(void *handle, nul_placement *placement);
/// dlclose, then mmap of `length` private anonymous bytes (the module's whole span), readable and
/// writable, with no address hint. If the mapping is not at `start`, it is made there by address.
void nul_replace_with_memory(void *handle, uint64_t start, size_t length,
                             nul_placement *placement);
/// dlclose, then dlopen of `path`, which should map at `start`.
void nul_replace_with_module(void *handle, uint64_t start, const char *path,
                             nul_placement *placement);

/// Makes the pages of [start, end) readable, writable and executable, as module text was in 2.6.27.
/// 0 or an errno.
int nul_open_text(uint64_t start, uint64_t end);

#endif
