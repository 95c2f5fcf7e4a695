// SPDX-License-Identifier: Apache-2.0
//
// Reading memory that may not be mapped. npc_read_fixed_up itself is in access.S.

#define _GNU_SOURCE
#include "memory_reading.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "faults.h"

// The kernel compares the word at `address` with one, and wakes and moves nobody, whatever it finds.
// It never sleeps for that. It fails with EFAULT where a load would have faulted, and with EAGAIN
// where the word differs. Where the operation is refused, no page counts as readable.
bool npc_page_is_readable(uint64_t address) {
  static uint32_t other;
  const long wake_none = 0, move_none = 0;
  return syscall(SYS_futex, address & ~(uint64_t)3, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG,
                 wake_none, move_none, &other, 1) == 0 || errno == EAGAIN;
}

// Text may have been unmapped or replaced without the loader, and a linker that does not separate
// code puts headers and notes beside it. Where a fault would not reach our dispatcher, the kernel
// is asked.
bool npc_read_memory(void *to, const void *from, size_t length) {
  return npc_faults_are_caught() ? npc_read_fixed_up(to, from, length)
                                 : npc_read_asking(to, from, length);
}

bool npc_read_asking(void *to, const void *from, size_t length) {
  enum { PAGE = 4096 };
  uint64_t start = (uint64_t)from, end = start + length;
  for (uint64_t at = start; at < end; at = (at / PAGE + 1) * PAGE)
    if (!npc_page_is_readable(at)) return false;
  memcpy(to, from, length);
  return true;
}
