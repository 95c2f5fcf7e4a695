// SPDX-License-Identifier: Apache-2.0
//
// Space in files. The agent asks for it before a store or a write could raise a signal.

#include <sys/resource.h>

#include "agent.h"
#include "syscalls.h"

bool nag_exceeds_limit(uint64_t end) {
  struct rlimit limit;
  if (NAG_CALL(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, &limit) != 0) return false;
  return end > limit.rlim_cur;
}

// Replaces fallocate on file systems without it: writes zeroes, which take their space at once.
static int64_t write_zeroes(int file, uint64_t offset, uint64_t bytes) {
  static const uint8_t zeroes[NREC_PAGE];
  while (bytes > 0) {
    uint64_t part = bytes < sizeof zeroes ? bytes : sizeof zeroes;
    int64_t wrote = NAG_CALL(SYS_pwrite64, file, zeroes, part, offset);
    if (wrote == -EINTR) continue;
    if (wrote <= 0) return wrote < 0 ? wrote : -ENOSPC;
    offset += (uint64_t)wrote;
    bytes -= (uint64_t)wrote;
  }
  return 0;
}

bool nag_make_space(int file, uint64_t offset, uint64_t bytes) {
  if (nag_exceeds_limit(offset + bytes)) return false;
  int64_t status;
  do status = NAG_CALL(SYS_fallocate, file, 0, offset, bytes);
  while (status == -EINTR);
  if (status == -EOPNOTSUPP || status == -ENOSYS) status = write_zeroes(file, offset, bytes);
  return status == 0;
}
