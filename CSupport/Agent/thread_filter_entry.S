// SPDX-License-Identifier: Apache-2.0
//
// With a filter by thread every handler has a front. It reads one word of the thread's own, and
// goes on to the handler, returns at once, or asks C first:
//
//      word == generation        the thread is wanted
//      word == generation + 1    it is not
//      else                      it was not asked since any thread's name changed
//
// A front leaves everything as the handler is to find it, r11 included (see stubs.h). Without a
// filter no front is in the way.

#include "stubs.h"

        .text

// `kept`: the stub has pushed the function's number, which goes where the handler does not run.
        .macro  FILTERED handler, kept
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
        .endm

        TO_C    nag_ask_thread, nag_thread_ask, entry

        FILTERED   nag_graph_entry
        FILTERED   nag_graph_mcount
        FILTERED   nag_graph_entry_only
        FILTERED   nag_graph_kept, kept
        FILTERED   nag_slow_entry
        FILTERED   nag_slow_mcount
        FILTERED   nag_slow_event
        FILTERED   nag_slow_pushed, kept
        FILTERED   nag_function_entry
        FILTERED   nag_function_mcount
        FILTERED   nag_function_kept, kept
        FILTERED   nag_slow_function_entry
        FILTERED   nag_slow_function_mcount
        FILTERED   nag_slow_function_pushed, kept
        FILTERED   nag_hits_entry
        FILTERED   nag_hits_kept, kept
        FILTERED   nag_tree_entry
        FILTERED   nag_tree_mcount
        FILTERED   nag_tree_kept, kept
        FILTERED   nag_profile_entry
        FILTERED   nag_profile_mcount
        FILTERED   nag_profile_only
        FILTERED   nag_profile_kept, kept
        FILTERED   nag_limited_only
        FILTERED   nag_limited_entry
        FILTERED   nag_limited_mcount
        FILTERED   nag_limited_kept, kept
        FILTERED   nag_window_entry
        FILTERED   nag_window_mcount
        FILTERED   nag_window_kept, kept

        .section .note.GNU-stack, "", @progbits
