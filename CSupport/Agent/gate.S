// SPDX-License-Identifier: Apache-2.0
//
// The gate's entries. Where a recording begins later than the program or ends earlier (--delay,
// --duration, --start-on, --stop-on), such an entry runs before each handler. It reads one word of
// the arena, and jumps to the handler or returns at once:
//
//      plain             records while the gate is open
//      start, stop       the site of a function that opens or shuts the gate: asks C first
//
// The handler finds all registers as its stub left them, r11 included (see stubs.h). Without such
// an option, stubs jump to the handlers directly.

#include "stubs.h"

        .text

        .macro  JUMP_IF_PASSED failed, index
        \failed 8f
        jmp     *nag_gate_handlers+8*\index(%rip)
8:      LEAVE
        .endm

        .macro  GATE index
        BEGIN   nag_gate_plain_\index
        PUSH    %rax
        movq    nag_gate(%rip), %rax
        cmpl    $NAG_GATE_OPEN, (%rax)
        POP     %rax
        JUMP_IF_PASSED jne, \index
        END     nag_gate_plain_\index
        .endm

        .macro  TRIGGER kind, marks, index
        BEGIN   nag_gate_\kind\()_\index
        PUSH    %rax
        PUSH    %rcx
        PUSH    %rdx
        PUSH    %rsi
        PUSH    %rdi
        PUSH    %r8
        PUSH    %r9
        PUSH    %r10
        PUSH    %r11
        movl    $\marks, %edi
        CALL_C  nag_gate_trigger
        testb   %al, %al
        POP     %r11
        POP     %r10
        POP     %r9
        POP     %r8
        POP     %rdi
        POP     %rsi
        POP     %rdx
        POP     %rcx
        POP     %rax
        JUMP_IF_PASSED jz, \index
        END     nag_gate_\kind\()_\index
        .endm

// By the marks of a site, divided by NAG_SITE_START, and by the flags that choose its handler.
        .macro  TABLE kind
        .irp    index, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        .quad   nag_gate_\kind\()_\index
        .endr
        .endm

        .irp    index, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        GATE    \index
        TRIGGER start, NAG_SITE_START, \index
        TRIGGER stop, NAG_SITE_STOP, \index
        TRIGGER both, NAG_SITE_START+NAG_SITE_STOP, \index
        .endr

        .section .data.rel.ro, "aw"
        .balign 8
        .globl  nag_gate_entries
        .hidden nag_gate_entries
nag_gate_entries:
        TABLE   plain
        TABLE   start
        TABLE   stop
        TABLE   both

        .section .note.GNU-stack, "", @progbits
