// SPDX-License-Identifier: Apache-2.0
//
// A thread's stack for slow paths of calls that are on a stack of the program's whose end is not
// known: a signal's alternate stack or a coroutine's may be nearly full. It is mapped when the first
// of them comes, and stays until the thread ends.

#include "agent.h"
#include "shadow_stack.h"
#include "syscalls.h"

void nag_aside(uint64_t location, void (*function)(void *), void *argument) {
  nag_stacks *all = nag_self.stacks;
  bool has_room = nag_is_own(location) || all->is_aside;
  if (!has_room && all->aside == NULL) all->aside = nag_pages(NAG_SCRATCH_BYTES);
  if (has_room || all->aside == NULL) return function(argument);
  all->is_aside = true;
  nag_on_stack(function, argument, all->aside + NAG_SCRATCH_BYTES);
  all->is_aside = false;
}
