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
        PUSH_REGISTERS
        movq    %r11, %rdi
        leaq    72(%rsp), %rsi
        movq    %rsp, %rdx
        CALL_C  \leave
        movq    %rax, 72(%rsp)
        POP_REGISTERS
        LEAVE
        END     nag_\mode\()_exit
        .endm

#define ASSEMBLED(...)
#define IN_C(mode, enter, enter_only, ...) ENTRIES_IN_C mode, enter, enter_only
#define IN_C_RETURNING(mode, enter, enter_only, leave, ...) \
        ENTRIES_IN_C mode, enter, enter_only; RETURN_IN_C mode, leave
#include "tracer_table.h"

        .section .note.GNU-stack, "", @progbits
