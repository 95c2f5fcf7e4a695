// SPDX-License-Identifier: Apache-2.0
//
// Finds where a thread's stack begins and ends. libc's own functions for that allocate and lock.
//
// A thread's first traced call may be on another stack (a coroutine's, a signal's), so the stack
// pointer does not tell. libc places a thread's thread-local storage at the upper end of its stack,
// also where the program provides the stack. The thread that starts the program has the stack onto
// which the kernel has written the auxiliary vector's random bytes. A fork keeps both.

#include <sys/auxv.h>

#include "agent.h"
#include "syscalls.h"

static uint64_t first_thread;  // its thread pointer; 0: the agent came later than it

void nag_stack_prepare(void) { first_thread = nag_thread_pointer(); }

// Reads /proc/self/maps up to the mapping that contains `address`.
static bool find_mapping(uint64_t address, uint64_t *low, uint64_t *high) {
  char buffer[1024];
  int64_t file = NAG_CALL(SYS_open, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return false;
  uint64_t field[2] = {0, 0};
  int index = 0;  // 0, 1: in a number; 2: in the rest of the line
  bool is_found = false;
  for (int64_t length = 0, i = 0; !is_found; i++) {
    if (i == length) {
      length = NAG_CALL(SYS_read, file, buffer, sizeof buffer);
      if (length <= 0) break;
      i = 0;
    }
    char byte = buffer[i];
    if (byte == '\n') field[0] = field[1] = 0, index = 0;
    else if (index < 2 && (byte == '-' || byte == ' '))
      is_found = ++index == 2 && address >= field[0] && address < field[1];
    else if (index < 2)
      field[index] = field[index] << 4 | (uint64_t)(byte <= '9' ? byte - '0' : byte - 'a' + 10);
  }
  NAG_CALL(SYS_close, file);
  *low = field[0], *high = field[1];
  return is_found;
}

static void find_stack(void *unused) {
  (void)unused;
  uint64_t pointer = nag_thread_pointer(), low, high;
  bool is_first = first_thread != 0 ? pointer == first_thread
                                    : nag_own_thread_id() == nag_process_id();
  if (nag_is_confined) {
    // A guess, from the usual size of a stack.
    nag_self.stack_high = is_first ? (getauxval(AT_RANDOM) | 0xfff) + 1 : pointer;
    nag_self.stack_low = nag_self.stack_high - (8 << 20);
    nag_self.mapped_low = nag_self.stack_high;
    return;
  }
  if (!find_mapping(is_first ? getauxval(AT_RANDOM) : pointer, &low, &high)) return;
  // The first thread's stack grows down, and nothing else is mapped close below it. The mapping of
  // another thread's may have other stacks in it, which can be unmapped: /proc shows mappings that
  // touch one another as one.
  nag_self.stack_low = low - (is_first ? 8 << 20 : 0);
  nag_self.stack_high = is_first ? high : pointer;
  nag_self.mapped_low = is_first ? low : high;
}

void nag_find_stack(void) { nag_on_scratch_stack(find_stack, NULL); }
