// SPDX-License-Identifier: Apache-2.0
//
// A stack for the slow paths that need more than a little. A thread's first traced call may be in a
// signal handler, on an alternate stack that is nearly full.

#include "agent.h"
#include "syscalls.h"

bool nag_on_scratch_stack(void (*function)(void *), void *argument) {
  static uint8_t *spare;  // of confined threads, which cannot unmap one
  uint8_t *stack = nag_is_confined ? __atomic_exchange_n(&spare, NULL, __ATOMIC_ACQ_REL) : NULL;
  if (stack == NULL) stack = nag_pages(NAG_SCRATCH_BYTES);
  if (stack == NULL) return false;
  nag_on_stack(function, argument, stack + NAG_SCRATCH_BYTES);
  if (nag_is_confined) __atomic_store_n(&spare, stack, __ATOMIC_RELEASE);
  else nag_unmap(stack, NAG_SCRATCH_BYTES);
  return true;
}
