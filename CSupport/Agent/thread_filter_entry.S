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

// `kept`: the stub has pushed the function's number; the entry removes it where the handler does
// not run. A handler that is in the table several times has one entry.
        .macro  FILTERED handler, kept
        .ifndef \handler\()_filtered
        BEGIN   \handler\()_filtered
        pushq   %rax
        movq    nag_self@gottpoff(%rip), %rax
        movl    %fs:NAG_TLS_CHOICE(%rax), %eax
        subl    nag_thread_generation(%rip), %eax
        cmpl    $1, %eax
        popq    %rax
        jb      \handler
        ja      8f
        .ifnb   \kept
        leaq    8(%rsp), %rsp
        .endif
        ret
8:      pushq   %r11
        callq   nag_ask_thread
        popq    %r11
        jmp     \handler\()_filtered
        END     \handler\()_filtered
        .endif
        .endm

        TO_C    nag_ask_thread, nag_thread_ask, entry

#define FILTER(entry, mcount, entry_only, kept) \
        FILTERED entry; FILTERED mcount; FILTERED entry_only; FILTERED kept, kept
#define ASSEMBLED(mode, entry, mcount, entry_only, kept, ...) \
        FILTER(entry, mcount, entry_only, kept)
#define IN_C(mode, ...) \
        FILTER(nag_##mode##_entry, nag_##mode##_mcount, nag_##mode##_only, nag_##mode##_kept)
#define IN_C_RETURNING IN_C
#include "tracer_table.h"

        .section .note.GNU-stack, "", @progbits
