// SPDX-License-Identifier: Apache-2.0
//
// A stack for the slow paths that need more than a little. A thread's first traced call may be in a
// signal handler, on an alternate stack that is nearly full.

#include "agent.h"
#include "syscalls.h"

enum { SCRATCH_BYTES = 1 << 16 };

bool nag_on_scratch_stack(void (*function)(void *), void *argument) {
  uint8_t *stack = nag_pages(SCRATCH_BYTES);
  if (stack == NULL) return false;
  nag_on_stack(function, argument, stack + SCRATCH_BYTES);
  NAG_CALL(SYS_munmap, stack, SCRATCH_BYTES);
  return true;
}
