// SPDX-License-Identifier: Apache-2.0
//
// A function takes its stack arguments off and moves its return address up before it returns, as one of
// swifttailcc does before a tail call. Its caller counts.

#include <stdio.h>

#define PLAIN __attribute__((noinline, no_instrument_function))

// long moved(long) in rdi, with 8 or more bytes on the stack that are its own to remove.
__asm__(".text\n"
        ".p2align 4\n"
        ".type moved, @function\n"
        "moved:\n"
        ".cfi_startproc\n"
        "  call __fentry__@plt\n"
        "  leaq 1(%rdi), %rax\n"
        "  popq %rcx\n"
        "  .cfi_adjust_cfa_offset -8\n"
        "  .cfi_register %rip, %rcx\n"
        "  addq $24, %rsp\n"
        "  pushq %rcx\n"
        "  ret\n"
        ".cfi_endproc\n"
        ".size moved, . - moved\n");

PLAIN static long call_moved(long value) {
  long result;
  __asm__ volatile("subq $128, %%rsp\n"  // no red zone
                   "pushq $0\n"
                   "pushq $0\n"
                   "pushq $0\n"
                   "call moved\n"
                   "addq $128, %%rsp\n"
                   : "=a"(result), "+D"(value)
                   :
                   : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
  return result;
}

static int calls;

__attribute__((noinline)) long inner(long value) {
  calls++;
  return value + 1;
}

__attribute__((noinline)) long outer(long value) {
  calls++;
  return inner(call_moved(inner(value))) + 1;
}

int main(void) {
  long sum = 0;
  for (int i = 0; i < 1000; i++) {
    sum += outer(i);
    calls++;  // moved
  }
  printf("%ld, %d calls\n", sum, calls + 1);
  return 0;
}
