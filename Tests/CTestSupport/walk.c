// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "walk.h"

#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

bool cts_stop_is_pending(void) {
  sigset_t pending;
  sigpending(&pending);
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++) {
    if (sigismember(&pending, signal)) return true;
  }
  return false;
}

void cts_return_into(void *context, uint64_t place) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  registers[REG_RSP] -= 8;
  *(greg_t *)registers[REG_RSP] = registers[REG_RIP];
  registers[REG_RIP] = (greg_t)place;
}

void cts_signal_itself(int number) {
  register long result __asm__("rax") = SYS_tgkill;
  register long process __asm__("rdi") = getpid();
  register long thread __asm__("rsi") = syscall(SYS_gettid);
  register long signal __asm__("rdx") = number;
  result = SYS_tgkill;
  // The handler pushes a return address: past the red zone.
  __asm__ volatile("subq $128, %%rsp\n syscall\n addq $128, %%rsp"
                   : "+r"(result), "+r"(process), "+r"(thread), "+r"(signal)
                   : : "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
}
