// SPDX-License-Identifier: Apache-2.0
//
// The functions that a call site calls, and the patch with the cmpxchg that this lab is about.
//
// `mcount` and `_mcount` are in the executable. libc.so defines both names too, so the linker
// exports ours, and a specimen loaded later binds its PLT to them (first in scope wins).

        .text

// A site of clang -pg, and the stack when mcount is entered:
//
//     push %rbp                        |  caller of the traced function |
//     mov  %rsp,%rbp                   |  its %rbp                      | <- %rbp
//     call mcount       <- ip          |  locals of the traced function |
//     ...               <- ip + 5      |  ip + 5                        | <- %rsp
//
// and when the C function is called, on a stack that may have been aligned to anything before:
//
//                                      |  ip + 5                        | 8(%rbp)
//                                      |  %rbp of the traced function   | <- %rbp
//                                      |  0 or 8 bytes of alignment     |
//                                      |  (empty), r11, r10, r9, r8     |
//                                      |  rdi, rsi, rdx, rcx, rax       | <- %rsp, 16-aligned
//
// Everything that may be live at a function's entry is kept: six integer arguments, al (the number
// of vector registers of a variadic call), r10 (static chain), r11. Vector registers are kept
// because the C side is compiled with -mgeneral-regs-only and calls no libc function. Flags are
// dead at an entry.
        .macro  call_with_ip function
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        andq    $-16, %rsp
        subq    $80, %rsp
        movq    %rax, 0(%rsp)
        movq    %rcx, 8(%rsp)
        movq    %rdx, 16(%rsp)
        movq    %rsi, 24(%rsp)
        movq    %rdi, 32(%rsp)
        movq    %r8, 40(%rsp)
        movq    %r9, 48(%rsp)
        movq    %r10, 56(%rsp)
        movq    %r11, 64(%rsp)
        movq    8(%rbp), %rdi
        subq    $5, %rdi
        call    \function
        movq    0(%rsp), %rax
        movq    8(%rsp), %rcx
        movq    16(%rsp), %rdx
        movq    24(%rsp), %rsi
        movq    32(%rsp), %rdi
        movq    40(%rsp), %r8
        movq    48(%rsp), %r9
        movq    56(%rsp), %r10
        movq    64(%rsp), %r11
        leave
        .cfi_def_cfa %rsp, 8
        .cfi_restore %rbp
        .endm

        .hidden nul_mcount_mode
        .hidden nul_mcount_hit
        .hidden nul_traced_hit

// void mcount(void): without an attached engine, it compares once and returns.
        .globl  mcount
        .type   mcount, @function
        .globl  _mcount
        .type   _mcount, @function
        .p2align 4
mcount:
_mcount:
        .cfi_startproc
        cmpl    $0, nul_mcount_mode(%rip)
        jne     1f
        ret
1:      call_with_ip nul_mcount_hit
        ret
        .cfi_endproc
        .size   mcount, . - mcount
        .size   _mcount, . - _mcount

// void nul_ftrace_caller(void): an enabled site calls this through its near trampoline.
        .globl  nul_ftrace_caller
        .hidden nul_ftrace_caller
        .type   nul_ftrace_caller, @function
        .p2align 4
nul_ftrace_caller:
        .cfi_startproc
        call_with_ip nul_traced_hit
        ret
        .cfi_endproc
        .size   nul_ftrace_caller, . - nul_ftrace_caller

// int nul_patch_code(uint8_t *ip, const uint8_t *expected, const uint8_t *replacement,
//                    uint32_t *found)
//
//     before:  e8 f7 fe ff ff      call mcount
//     after:   0f 1f 44 00 00      nop
//
// The first four bytes are written by `lock cmpxchg`. If they were the expected ones, a separate
// store writes the fifth, which is not checked first. The fix-up covers only the cmpxchg. Even
// where the bytes differ, the processor ends its locked cycle with a write of the value that it
// read. That changes nothing in memory, but it does in a device register.
        .globl  nul_patch_code
        .type   nul_patch_code, @function
        .globl  nul_patch_cmpxchg
        .hidden nul_patch_cmpxchg
        .globl  nul_patch_landing
        .hidden nul_patch_landing
        .p2align 4
nul_patch_code:
        .cfi_startproc
        movl    (%rsi), %eax
        movl    %eax, %r9d
        movl    (%rdx), %r8d
        movzbl  4(%rdx), %r10d
nul_patch_cmpxchg:
        lock cmpxchgl %r8d, (%rdi)
        jne     1f
        movb    %r10b, 4(%rdi)
        movl    %r9d, (%rcx)
        xorl    %eax, %eax
        ret
1:      movl    %eax, (%rcx)
        xorl    %r9d, %r9d
        cmpl    %r8d, %eax
        setne   %r9b
        leal    (%r9,%r9), %eax
        ret
nul_patch_landing:
        movl    $1, %eax
        ret
        .cfi_endproc
        .size   nul_patch_code, . - nul_patch_code

        .section .note.GNU-stack, "", @progbits
