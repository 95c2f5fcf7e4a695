// SPDX-License-Identifier: Apache-2.0
//
// The thread filter's entries. When threads are chosen by name, an entry nag_HANDLER_filtered runs
// before each handler of tracer_table.h. It reads one word of the thread's own. Then it jumps to
// the handler, returns at once, or first calls C to check the name:
//
//      word == generation        the thread is wanted
//      word == generation + 1    it is not
//      else                      its name was not checked since any thread's name changed
//
// The handler finds all registers as its stub left them, r11 included (see stubs.h). Without a
// filter, stubs jump to the handlers directly.

#include "stubs.h"

        .text

// A handler that is in the table several times has one entry.
        .macro  FILTERED handler
        .ifndef \handler\()_filtered
        BEGIN   \handler\()_filtered
        PUSH    %rax
        movq    nag_self@gottpoff(%rip), %rax
        movl    %fs:NAG_TLS_CHOICE(%rax), %eax
        subl    nag_thread_generation(%rip), %eax
        cmpl    $1, %eax
        POP     %rax
        jb      \handler
        ja      8f
        LEAVE
        RESUME  0
8:      callq   9f  // as a site calls its stub
        jmp     \handler\()_filtered
9:      RESUME  8
        PUSH    %r11
        jmp     nag_ask_thread
        END     \handler\()_filtered
        .endif
        .endm

        TO_C    nag_ask_thread, nag_thread_ask, entry

#define FILTER(entry, mcount, entry_only, mcount_only) \
        FILTERED entry; FILTERED mcount; FILTERED entry_only; FILTERED mcount_only
#define ASSEMBLED(mode, entry, mcount, entry_only, mcount_only, ...) \
        FILTER(entry, mcount, entry_only, mcount_only)
#define IN_C(mode, ...) \
        FILTER(nag_##mode##_entry, nag_##mode##_mcount, nag_##mode##_entry_only, \
               nag_##mode##_mcount_only)
#define IN_C_RETURNING IN_C
#include "tracer_table.h"

        .section .note.GNU-stack, "", @progbits
