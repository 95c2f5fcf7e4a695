// SPDX-License-Identifier: Apache-2.0
//
// The handlers of the tracers that do their work in C, generated from the rows of tracer_table.h.
// The slow modes among them also serve as the slow paths of the handlers in assembly.

#include "stubs.h"

        .text

        .macro  ENTRIES_IN_C mode, enter, enter_only
        TO_C    nag_\mode\()_entry, \enter, entry
        TO_C    nag_\mode\()_mcount, \enter, frame
        TO_C    nag_\mode\()_only, \enter_only, frame
        TO_C    nag_\mode\()_behind, \enter, kept
        KEPT    nag_\mode\()_kept, nag_\mode\()_behind
        .endm

// Hooked returns come here from their trampolines (graph.S describes the registers), for ordinary
// and for `kept` functions alike. The real return address replaces the trampoline's address at
// -8(%rsp), which is not overwritten before.
        .macro  RETURN_IN_C mode, leave
        BEGIN   nag_\mode\()_exit
        leaq    -16(%rsp), %rsp
        pushq   %rax
        pushq   %rdx
        pushq   %rcx
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        movq    %r11, %rdi
        leaq    72(%rsp), %rsi
        pushq   %rbx
        movq    %rsp, %rbx
        andq    $-16, %rsp
        callq   \leave
        movq    %rbx, %rsp
        popq    %rbx
        movq    %rax, 72(%rsp)
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rcx
        popq    %rdx
        popq    %rax
        popq    %r11
        ret
        END     nag_\mode\()_exit
        .endm

#define ASSEMBLED(...)
#define IN_C(mode, enter, enter_only, ...) ENTRIES_IN_C mode, enter, enter_only
#define IN_C_RETURNING(mode, enter, enter_only, leave, ...) \
        ENTRIES_IN_C mode, enter, enter_only; RETURN_IN_C mode, leave
#include "tracer_table.h"

        .section .note.GNU-stack, "", @progbits
