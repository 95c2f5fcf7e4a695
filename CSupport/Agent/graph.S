// SPDX-License-Identifier: Apache-2.0
//
// Tracer `function_graph`: an ENTRY and a hooked return at each entry, an EXIT at each return.

#include "stubs.h"

        .text

// Replaces the return address at (%rax) by the trampoline of the next slot.
        .macro  HOOK slow
        movq    %fs:NAG_TLS_TOP(%r9), %rcx
        cmpq    %fs:NAG_TLS_END(%r9), %rcx
        jae     \slow
        // The slot below belongs to a frame at or under this one: this is a tail call, or frames
        // ended without returning.
        cmpq    %rax, NAG_SLOT_STACK-NAG_SLOT_BYTES(%rcx)
        jbe     7f
        cmpq    %fs:NAG_TLS_FLOOR(%r9), %rax
        jb      \slow
5:      leaq    NAG_SLOT_BYTES(%rcx), %rdx
        movq    %rdx, %fs:NAG_TLS_TOP(%r9)
        movq    %rax, NAG_SLOT_STACK(%rcx)
        movq    (%rax), %rdx
        movq    %rdx, NAG_SLOT_RETURN(%rcx)
        movq    %r11, NAG_SLOT_FUNCTION(%rcx)  // with zero behind it
        leaq    -NAG_SHADOW_DISTANCE(%rcx), %rdx
        movq    %rdx, (%rax)
        .endm

// The tail call: the return address is the trampoline of the slot below.
        .macro  HOOK_TAIL slow
7:      jne     \slow
        leaq    -NAG_SHADOW_DISTANCE-NAG_SLOT_BYTES(%rcx), %rdx
        cmpq    (%rax), %rdx
        je      5b
        jmp     \slow
        .endm

        .macro  GRAPH_ENTRY name, location, slow
        BEGIN   \name, 6
        SAVE
        movq    nag_self@gottpoff(%rip), %r9
        LOCATION \location, SAVED, %rax
        .ifnb   \slow
        HOOK    8f
        .endif
        BUFFER  9f
        EVENT   \name, 9f
        SHORT_ENTRY %r11, %r11d, 6f, 4f
4:      cmpq    $0xffffff, %r8
        ja      9f
        LONG_ENTRY
        addq    $8, %rdx
6:      COMMIT  \name
        EXIT
        .ifnb   \slow
        HOOK_TAIL 8f
8:      EXIT_TO \slow  // no slot: C does the whole of it
        .endif
9:      EXIT_TO nag_slow_graph_entry_only  // hooked already: C writes only the event
        RESTART \name
        END     \name
        .endm

        GRAPH_ENTRY nag_graph_entry, entry, nag_slow_graph_entry
        GRAPH_ENTRY nag_graph_mcount, frame, nag_slow_graph_mcount
        GRAPH_ENTRY nag_graph_entry_only, entry

// --- returns
// ---------------------------------------------------------------------------------------

// A trampoline (32 bytes, the same for every slot) jumps here with its slot in r11 and the old
// value of r11 in -16(%rsp). The stack pointer is where the traced function's return has left it.
// The trampoline's address is still at -8(%rsp); the real return address replaces it before the slot
// is free, so that an unwinder finds its way at any time. All registers are kept (stubs.h): those
// that are used here in the red zone, which no signal handler's frame overwrites.
        BEGIN_RETURN nag_graph_exit, 6
        movq    %rax, -24(%rsp)
        movq    %rdx, -32(%rsp)
        movq    %rcx, -40(%rsp)
        movq    %r8, -48(%rsp)
        movq    %r9, -56(%rsp)
        movq    nag_self@gottpoff(%rip), %r9
        leaq    NAG_SLOT_BYTES(%r11), %rcx
        cmpq    %rcx, %fs:NAG_TLS_TOP(%r9)
        jne     8f
        // Check that the frame that returns is the slot's own, not an older one that seemed to be
        // over.
        leaq    -8(%rsp), %rcx
        cmpq    %rcx, NAG_SLOT_STACK(%r11)
        jne     8f
        BUFFER  8f
        EVENT   nag_graph_exit, 8f
        cmpq    $63, %r8
        ja      2f
        // 1 byte: delta << 2 | 1
        leal    1(,%r8,4), %ecx
        movb    %cl, (%rax)
        incq    %rdx
        jmp     3f
2:      cmpq    $16383, %r8
        ja      8f
        // 2 bytes: delta << 2 | 3
        leal    3(,%r8,4), %ecx
        movw    %cx, (%rax)
        addq    $2, %rdx
3:      COMMIT  nag_graph_exit
        movq    NAG_SLOT_RETURN(%r11), %rcx
        movq    %rcx, -8(%rsp)
        movq    nag_self@gottpoff(%rip), %r9
        movq    $-1, NAG_SLOT_STACK(%r11)
        movq    %r11, %fs:NAG_TLS_TOP(%r9)
        .macro  GIVE_BACK
        movq    -24(%rsp), %rax
        movq    -32(%rsp), %rdx
        movq    -40(%rsp), %rcx
        movq    -48(%rsp), %r8
        movq    -56(%rsp), %r9
        .endm
        GIVE_BACK
        movq    -16(%rsp), %r11
        jmp     *-8(%rsp)
8:      GIVE_BACK
        jmp     nag_slow_graph_exit
        RESTART nag_graph_exit
        END     nag_graph_exit

// Returns of marked slots (marked_calls.c) are C's.
        BEGIN_RETURN nag_marked_exit
        cmpl    $0, NAG_SLOT_EXTRA(%r11)
        je      nag_graph_exit
        jmp     nag_slow_marked_exit
        END     nag_marked_exit

        .section .note.GNU-stack, "", @progbits
