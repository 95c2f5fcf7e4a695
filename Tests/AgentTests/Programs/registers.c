// SPDX-License-Identifier: Apache-2.0
// A caller that knows which registers its callee does not change, as callers do with gcc's IPA-RA.
// It keeps values in all of these registers across the call.
#include <stdio.h>

#define KEEP __attribute__((noinline, noclone, used))

static volatile long sum;

KEEP long leaf(void) { return 42; }
KEEP long outer(void) { return leaf() + 1; }

// The registers that the call changed, one bit for each.
#define CHECK(function)                                                                        \
  ({                                                                                           \
    long changed, result;                                                                      \
    __asm__ volatile(                                                                          \
        "leaq -256(%%rsp), %%rsp\n\t"                                                          \
        "movq $1, %%rcx\n\tmovq $2, %%rsi\n\tmovq $3, %%rdi\n\tmovq $4, %%r8\n\t"              \
        "movq $5, %%r9\n\tmovq $6, %%r10\n\tmovq $7, %%r11\n\t"                                \
        "call " #function "\n\t"                                                               \
        "xorl %%edx, %%edx\n\t"                                                                \
        "cmpq $1, %%rcx\n\tje 1f\n\torl $1, %%edx\n1:\n\t"                                     \
        "cmpq $2, %%rsi\n\tje 1f\n\torl $2, %%edx\n1:\n\t"                                     \
        "cmpq $3, %%rdi\n\tje 1f\n\torl $4, %%edx\n1:\n\t"                                     \
        "cmpq $4, %%r8\n\tje 1f\n\torl $8, %%edx\n1:\n\t"                                      \
        "cmpq $5, %%r9\n\tje 1f\n\torl $16, %%edx\n1:\n\t"                                     \
        "cmpq $6, %%r10\n\tje 1f\n\torl $32, %%edx\n1:\n\t"                                    \
        "cmpq $7, %%r11\n\tje 1f\n\torl $64, %%edx\n1:\n\t"                                    \
        "leaq 256(%%rsp), %%rsp"                                                               \
        : "=a"(result), "=d"(changed)                                                          \
        :                                                                                      \
        : "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");                      \
    sum += result;                                                                             \
    changed;                                                                                   \
  })

KEEP long round_of_checks(void) { return CHECK(leaf) | CHECK(outer); }

int main(void) {
  long changed = 0;
  // So many calls that chunks end meanwhile: the slow paths must keep the registers too.
  for (int i = 0; i < 50000; i++) changed |= round_of_checks();
  printf("changed %lx, sum %ld\n", changed, sum);
  printf("calls leaf 100000\ncalls outer 50000\ncalls round_of_checks 50000\n");
  return 0;
}
