// SPDX-License-Identifier: Apache-2.0
//
// The thread filter's entries. When threads are chosen by name, one stands before each handler of
// tracer_table.h: nag_HANDLER_filtered. It reads one word of the thread's own, and then jumps to
// the handler, returns at once, or asks C first:
//
//      word == generation        the thread is wanted
//      word == generation + 1    it is not
//      else                      it was not asked since any thread's name changed
//
// The handler finds everything as its stub left it, r11 included (see stubs.h). Without a filter
// stubs jump to the handlers themselves.

#include "stubs.h"

        .text

// `kept`: the stub has pushed the function's number, which is taken off where the handler does not
// run. A handler that stands in the table several times has one entry.
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
