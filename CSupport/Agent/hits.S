// SPDX-License-Identifier: Apache-2.0
//
// Tracer `hits`: counts calls. It reads no clock. hits.c makes the counters.

#include "stubs.h"

        .text

        BEGIN   nag_hits_entry, 6
        PUSH    %rax
        movq    nag_self@gottpoff(%rip), %rax
        movq    %fs:NAG_TLS_BUFFER(%rax), %rax
        testq   %rax, %rax
        jz      9f
        cmpq    %r11, NAG_BUFFER_COUNTED(%rax)
        jbe     9f
        movq    NAG_BUFFER_COUNTS(%rax), %rax
        incq    (%rax,%r11,8)
        POP     %rax
        LEAVE
        RESUME  8
9:      POP     %rax
        jmp     nag_slow_hits
        END     nag_hits_entry

        TO_C    nag_slow_hits, nag_enter_hits, entry

        .section .note.GNU-stack, "", @progbits
