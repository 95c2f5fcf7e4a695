// SPDX-License-Identifier: Apache-2.0
//
// Calls from slow paths that need a stack of their own, or the vector registers kept, which may hold
// an entry's arguments; and the reading of these.

#include "stubs.h"

        .text

        .macro  BEGIN_FRAME name
        DEFINE  \name, 4
        PUSH    %rbp
        .cfi_rel_offset %rbp, 0
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        .endm

// void nag_on_stack(void (*function)(void *), void *argument, uint8_t *top)
        BEGIN_FRAME nag_on_stack
        movq    %rdx, %rsp
        movq    %rdi, %rax
        movq    %rsi, %rdi
        callq   *%rax
        leave
        .cfi_def_cfa %rsp, 8
        ret
        END     nag_on_stack

// void nag_with_vectors(void (*function)(void *), void *argument, uint64_t area)
        BEGIN_FRAME nag_with_vectors
        pushq   %rbx
        .cfi_offset %rbx, -24
        pushq   %r12
        .cfi_offset %r12, -32
        movq    %rdi, %rbx
        subq    %rdx, %rsp
        andq    $-64, %rsp
        movq    %rsp, %r12
        // The header of the area must be zero before the first XSAVE.
        movq    $0, 512(%r12)
        movq    $0, 520(%r12)
        movq    $0, 528(%r12)
        movq    $0, 536(%r12)
        movq    $0, 544(%r12)
        movq    $0, 552(%r12)
        movq    $0, 560(%r12)
        movq    $0, 568(%r12)
        movl    $-1, %eax
        movl    $-1, %edx
        xsave   (%r12)
        movq    %rsi, %rdi
        callq   *%rbx
        movl    $-1, %eax
        movl    $-1, %edx
        xrstor  (%r12)
        leaq    -16(%rbp), %rsp
        popq    %r12
        popq    %rbx
        popq    %rbp
        .cfi_def_cfa %rsp, 8
        ret
        END     nag_with_vectors

// uint64_t nag_vector(uint32_t number): the low half of xmm0 to xmm7, which stay as they are.
        DEFINE  nag_vector, 4
        .irp    number, 0, 1, 2, 3, 4, 5, 6, 7
        cmpl    $\number, %edi
        jne     1f
        movq    %xmm\number, %rax
        ret
1:
        .endr
        xorl    %eax, %eax
        ret
        END     nag_vector

        .section .note.GNU-stack, "", @progbits
