// SPDX-License-Identifier: Apache-2.0
//
// The tracers that count and take no time, `hits` and `callgraph`, and those whose work is in C.

#include "stubs.h"

        .text

// --- hits ------------------------------------------------------------------------------------------

        BEGIN   nag_hits_entry, 6
        pushq   %rax
        movq    nag_self@gottpoff(%rip), %rax
        movq    %fs:NAG_TLS_BUFFER(%rax), %rax
        testq   %rax, %rax
        jz      9f
        cmpq    %r11, NAG_BUFFER_COUNTED(%rax)
        jbe     9f
        movq    NAG_BUFFER_COUNTS(%rax), %rax
        incq    (%rax,%r11,8)
        popq    %rax
        ret
9:      popq    %rax
        jmp     nag_slow_hits
        END     nag_hits_entry

        KEPT    nag_hits_kept, nag_hits_entry
        TO_C    nag_slow_hits, nag_enter_hits, entry

// --- callgraph -------------------------------------------------------------------------------------

        .macro  TREE_ENTRY name, location, slow
        BEGIN   \name, 6
        SAVE
        movq    nag_self@gottpoff(%rip), %r9
        LOCATION \location, SAVED, %rax
        BUFFER  9f
        // Another stack than the thread's own, or no tree yet (a size of zero).
        movq    %rax, %rdx
        subq    NAG_BUFFER_STACK_LOW(%r9), %rdx
        cmpq    NAG_BUFFER_STACK_SIZE(%r9), %rdx
        jae     9f
        movq    NAG_BUFFER_TREE_TOP(%r9), %rcx
        jmp     2f
1:      subq    $16, %rcx
2:      cmpq    %rax, (%rcx)
        jbe     1b
        // One of the caller's children that were called before: see tree.c.
        movq    8(%rcx), %rdx
        movl    %r11d, %r8d
        andl    $(NAG_KNOWN - 1), %r8d
        movq    NAG_NODE_KNOWN(%rdx,%r8,8), %r8
        cmpl    %r11d, NAG_NODE_FUNCTION(%r8)
        jne     9f
        addq    $16, %rcx
        cmpq    NAG_BUFFER_TREE_END(%r9), %rcx
        jae     9f
        movq    NAG_NODE_SHARED(%r8), %rdx
        incq    8(%rdx)
        movq    %rax, (%rcx)
        movq    %r8, 8(%rcx)
        movq    %rcx, NAG_BUFFER_TREE_TOP(%r9)
        RESTORE
        ret
9:      RESTORE
        jmp     \slow
        END     \name
        .endm

        TREE_ENTRY nag_tree_entry, entry, nag_slow_tree_entry
        TREE_ENTRY nag_tree_mcount, frame, nag_slow_tree_mcount
        TREE_ENTRY nag_tree_behind, kept, nag_slow_tree_kept
        KEPT    nag_tree_kept, nag_tree_behind
        TO_C    nag_slow_tree_entry, nag_enter_tree, entry
        TO_C    nag_slow_tree_mcount, nag_enter_tree, frame
        TO_C    nag_slow_tree_kept, nag_enter_tree, kept

// --- in C -------------------------------------------------------------------------------------------

        TO_C    nag_profile_entry, nag_enter_profile, entry
        TO_C    nag_profile_mcount, nag_enter_profile, frame
        TO_C    nag_profile_only, nag_enter_profile_only, entry
        TO_C    nag_profile_behind, nag_enter_profile, kept
        KEPT    nag_profile_kept, nag_profile_behind
        TO_C    nag_limited_only, nag_enter_limited_only, frame
        TO_C    nag_limited_entry, nag_enter_limited, entry
        TO_C    nag_limited_mcount, nag_enter_limited, frame
        TO_C    nag_limited_behind, nag_enter_limited, kept
        KEPT    nag_limited_kept, nag_limited_behind
        TO_C    nag_window_entry, nag_enter_window, entry
        TO_C    nag_window_mcount, nag_enter_window, frame
        TO_C    nag_window_behind, nag_enter_window, kept
        KEPT    nag_window_kept, nag_window_behind

// --- what unpatched sites call -----------------------------------------------------------------------

        .globl  mcount, _mcount, __fentry__
        .type   mcount, @function
        .type   _mcount, @function
        .type   __fentry__, @function
        .p2align 4
mcount:
_mcount:
__fentry__:
        ret
        .size   mcount, . - mcount

// void nag_with_vectors(void (*function)(void *), void *argument, uint64_t area): calls into libc
// from a slow path, with all vector state kept. `area`: bytes that XSAVE needs.
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
