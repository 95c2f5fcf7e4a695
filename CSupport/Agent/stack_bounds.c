// SPDX-License-Identifier: Apache-2.0
//
// Finds where a thread's stack begins and ends. libc's own functions for that allocate and lock.

#include "agent.h"
#include "syscalls.h"

// Reads /proc/self/maps up to the mapping that contains `address`: that is the thread's stack.
void nag_find_stack(void) {
  uint64_t address = (uint64_t)__builtin_frame_address(0);
  static const char path[] = "/proc/self/maps";
  char buffer[1024];
  int64_t file = NAG_CALL(SYS_open, path, O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return;
  uint64_t field[2] = {0, 0};
  int index = 0;  // 0, 1: in a number; 2: in the rest of the line
  for (int64_t length; (length = NAG_CALL(SYS_read, file, buffer, sizeof buffer)) > 0;) {
    for (int64_t i = 0; i < length; i++) {
      char byte = buffer[i];
      if (byte == '\n') {
        field[0] = field[1] = 0;
        index = 0;
      } else if (index < 2 && (byte == '-' || byte == ' ')) {
        if (++index == 2 && address >= field[0] && address < field[1]) {
          // The first thread's stack grows down, and nothing else is mapped close below it.
          bool grows = nag_thread_id() == nag_process_id();
          nag_self.stack_low = field[0] - (grows ? 8 << 20 : 0);
          nag_self.stack_high = field[1];
          NAG_CALL(SYS_close, file);
          return;
        }
      } else if (index < 2) {
        field[index] = field[index] << 4 | (uint64_t)(byte <= '9' ? byte - '0' : byte - 'a' + 10);
      }
    }
  }
  NAG_CALL(SYS_close, file);
}
