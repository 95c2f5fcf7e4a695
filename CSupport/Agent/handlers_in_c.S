// SPDX-License-Identifier: Apache-2.0
//
// The handlers of the tracers that do their work in C, generated from the rows of tracer_table.h.
// The slow modes among them also serve as the slow paths of the handlers in assembly.

#include "stubs.h"

        .text

        .macro  ENTRIES_IN_C mode, enter, enter_only
        TO_C    nag_\mode\()_entry, \enter, entry
        TO_C    nag_\mode\()_mcount, \enter, frame
        TO_C    nag_\mode\()_entry_only, \enter_only, entry
        TO_C    nag_\mode\()_mcount_only, \enter_only, frame
        .endm

// Hooked returns come here from their trampolines (graph.S describes the registers). The real return
// address replaces the trampoline's address at -8(%rsp), which is not overwritten before.
        .macro  RETURN_IN_C mode, leave
        BEGIN_RETURN nag_\mode\()_exit
        leaq    -16(%rsp), %rsp
        .cfi_adjust_cfa_offset 16
        PUSH    %rax
        PUSH    %rdx
        PUSH    %rcx
        PUSH    %rsi
        PUSH    %rdi
        PUSH    %r8
        PUSH    %r9
        PUSH    %r10
        movq    %r11, %rdi
        leaq    72(%rsp), %rsi
        CALL_C  \leave
        movq    %rax, 72(%rsp)
        POP     %r10
        POP     %r9
        POP     %r8
        POP     %rdi
        POP     %rsi
        POP     %rcx
        POP     %rdx
        POP     %rax
        LEAVE
        END     nag_\mode\()_exit
        .endm

#define ASSEMBLED(...)
#define IN_C(mode, enter, enter_only, ...) ENTRIES_IN_C mode, enter, enter_only
#define IN_C_RETURNING(mode, enter, enter_only, leave, ...) \
        ENTRIES_IN_C mode, enter, enter_only; RETURN_IN_C mode, leave
#include "tracer_table.h"

        .section .note.GNU-stack, "", @progbits
