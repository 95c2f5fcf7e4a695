// SPDX-License-Identifier: Apache-2.0
//
// Keeps the vector registers, which may hold an entry's arguments, across a call into libc.

#include "stubs.h"

        .text

// void nag_with_vectors(void (*function)(void *), void *argument, uint64_t area)
        BEGIN   nag_with_vectors
        pushq   %rbp
        movq    %rsp, %rbp
        pushq   %rbx
        pushq   %r12
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
        ret
        END     nag_with_vectors

        .section .note.GNU-stack, "", @progbits
