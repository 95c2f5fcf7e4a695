// SPDX-License-Identifier: Apache-2.0
//
// Tracer `callgraph`: counts the call in the thread's call tree (callgraph.c). It reads no clock.

#include "stubs.h"

        .text

        .macro  CALLGRAPH_ENTRY name, location, slow
        BEGIN   \name, 6
        SAVE
        movq    nag_self@gottpoff(%rip), %r9
        LOCATION \location, SAVED, %rax
        BUFFER  9f
        // The stack is not the thread's own, or there is no tree yet (its size is zero then).
        movq    %rax, %rdx
        subq    NAG_BUFFER_STACK_LOW(%r9), %rdx
        cmpq    NAG_BUFFER_STACK_SIZE(%r9), %rdx
        jae     9f
        movq    NAG_BUFFER_TREE_TOP(%r9), %rcx
        jmp     2f
1:      subq    $16, %rcx
2:      cmpq    %rax, (%rcx)
        jbe     1b
        // Look among the caller's children that were called before: see callgraph.c.
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
        EXIT
9:      EXIT_TO \slow
        END     \name
        .endm

        CALLGRAPH_ENTRY nag_callgraph_entry, entry, nag_slow_callgraph_entry
        CALLGRAPH_ENTRY nag_callgraph_mcount, frame, nag_slow_callgraph_mcount
        TO_C    nag_slow_callgraph_entry, nag_enter_callgraph, entry
        TO_C    nag_slow_callgraph_mcount, nag_enter_callgraph, frame

        .section .note.GNU-stack, "", @progbits
