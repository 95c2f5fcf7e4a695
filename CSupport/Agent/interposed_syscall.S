// SPDX-License-Identifier: Apache-2.0
//
// libc's syscall(2), interposed. It continues in libc's as if it had been called directly, whatever
// the call does to stacks and processes. Before prctl and seccomp the agent looks at what they do.

#include <asm/unistd.h>

        .text
        .globl  syscall
        .type   syscall, @function
syscall:
        .cfi_startproc
        cmpq    $__NR_prctl, %rdi
        je      1f
        cmpq    $__NR_seccomp, %rdi
        je      1f
        jmp     *nag_libc_syscall(%rip)
1:      pushq   %rdi
        .cfi_adjust_cfa_offset 8
        pushq   %rsi
        .cfi_adjust_cfa_offset 8
        pushq   %rdx
        .cfi_adjust_cfa_offset 8
        pushq   %rcx
        .cfi_adjust_cfa_offset 8
        pushq   %r8
        .cfi_adjust_cfa_offset 8
        pushq   %r9
        .cfi_adjust_cfa_offset 8
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        call    nag_before_syscall
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %r9
        .cfi_adjust_cfa_offset -8
        popq    %r8
        .cfi_adjust_cfa_offset -8
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        popq    %rdx
        .cfi_adjust_cfa_offset -8
        popq    %rsi
        .cfi_adjust_cfa_offset -8
        popq    %rdi
        .cfi_adjust_cfa_offset -8
        jmp     *nag_libc_syscall(%rip)
        .cfi_endproc
        .size   syscall, . - syscall

// Before the agent's constructor has looked up libc's.
        .type   plain_syscall, @function
plain_syscall:
        .cfi_startproc
        movq    %rdi, %rax
        movq    %rsi, %rdi
        movq    %rdx, %rsi
        movq    %rcx, %rdx
        movq    %r8, %r10
        movq    %r9, %r8
        movq    8(%rsp), %r9
        syscall
        cmpq    $-4095, %rax
        jae     2f
        ret
2:      negl    %eax
        pushq   %rax
        .cfi_adjust_cfa_offset 8
        call    *__errno_location@GOTPCREL(%rip)
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        movl    %ecx, (%rax)
        movq    $-1, %rax
        ret
        .cfi_endproc
        .size   plain_syscall, . - plain_syscall

        .section .data.rel.local, "aw", @progbits
        .globl  nag_libc_syscall
        .hidden nag_libc_syscall
        .balign 8
nag_libc_syscall:
        .quad   plain_syscall

        .section .note.GNU-stack, "", @progbits
