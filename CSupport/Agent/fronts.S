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
        .macro  FRONT handler, kept
        BEGIN   \handler\()_front
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
        jmp     \handler\()_front
        END     \handler\()_front
        .endm

        TO_C    nag_ask_thread, nag_thread_ask, entry

        FRONT   nag_graph_entry
        FRONT   nag_graph_mcount
        FRONT   nag_graph_entry_only
        FRONT   nag_graph_kept, kept
        FRONT   nag_slow_entry
        FRONT   nag_slow_mcount
        FRONT   nag_slow_event
        FRONT   nag_slow_pushed, kept
        FRONT   nag_function_entry
        FRONT   nag_function_mcount
        FRONT   nag_function_kept, kept
        FRONT   nag_slow_function_entry
        FRONT   nag_slow_function_mcount
        FRONT   nag_slow_function_pushed, kept
        FRONT   nag_hits_entry
        FRONT   nag_hits_kept, kept
        FRONT   nag_tree_entry
        FRONT   nag_tree_mcount
        FRONT   nag_tree_kept, kept
        FRONT   nag_profile_entry
        FRONT   nag_profile_mcount
        FRONT   nag_profile_only
        FRONT   nag_profile_kept, kept
        FRONT   nag_gated_only
        FRONT   nag_gated_entry
        FRONT   nag_gated_mcount
        FRONT   nag_gated_kept, kept
        FRONT   nag_window_entry
        FRONT   nag_window_mcount
        FRONT   nag_window_kept, kept

        .section .note.GNU-stack, "", @progbits
