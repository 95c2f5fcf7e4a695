// SPDX-License-Identifier: Apache-2.0
//
// The hot path. An armed site calls its own stub,
//
//      41 bb imm32      mov  $function, %r11d
//      ff 25 disp32     jmp  *handler(%rip)
//
// and the handler finds
//
//      (%rsp)    return address into the traced function, behind its call site
//      8(%rsp)   at an entry (fentry, patchable): the traced function's return address
//      8(%rbp)   after a prologue (mcount): the same
//      %r11d     the function's number
//
// Every register but r11 and the flags is kept: r11 is no argument and dead at an entry.
//
// An event is committed by one compare-and-exchange of the buffer's state, (time << 16 | offset),
// and stored afterwards. A signal handler between the two writes behind it; one before the
// exchange makes it fail, and it is made again. No lock prefix: only this thread writes the state.

#include "agent.h"

        .text

        .macro  SAVE
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %r8
        pushq   %r9
        .endm
        .macro  RESTORE
        popq    %r9
        popq    %r8
        popq    %rdx
        popq    %rcx
        popq    %rax
        .endm
        .set    SAVED, 40
        .set    NREC_SHIFT, 1

// rax := the state; rdx := time << 16; r8 := time since the last event; ecx := the offset.
// Goes to \slow where the chunk has no room, or is none (a state of zero).
        .macro  TIMESTAMP slow
        rdtsc
        shlq    $32, %rdx
        orq     %rax, %rdx
        shrq    $NREC_SHIFT, %rdx
        shlq    $16, %rdx
        movq    NAG_BUFFER_STATE(%r9), %rax
        movq    %rax, %r8
        movzwl  %ax, %ecx
        xorq    %rcx, %r8
        subq    %rdx, %r8
        negq    %r8
        shrq    $16, %r8
        cmpl    $(NAG_CHUNK_BYTES - NAG_CHUNK_SLACK), %ecx
        ja      \slow
        cmpl    $NAG_CHUNK_HEADER, %ecx
        jb      \slow
        .endm

// Takes `\bytes` more of the chunk; rcx := where they go. Goes to \again where a signal handler's
// own events came in between. What is stored afterwards must be `\bytes` and not one more: such
// a handler may have written behind them already.
        .macro  COMMIT bytes, again
        leaq    \bytes(%rdx,%rcx), %rdx
        addq    NAG_BUFFER_CHUNK(%r9), %rcx
        cmpxchgq %rdx, NAG_BUFFER_STATE(%r9)
        jne     \again
        .endm

// --- entries ---------------------------------------------------------------------------------------

        .macro  PREPARE location
        SAVE
        movq    nag_self@gottpoff(%rip), %r9
        .ifc    \location, entry
        leaq    SAVED+8(%rsp), %rax
        .else
        leaq    8(%rbp), %rax
        .endif
        .endm

// Replaces the return address at (%rax) by the trampoline of the next slot.
        .macro  HOOK slow
        movq    %fs:NAG_TLS_TOP(%r9), %rcx
        cmpq    %fs:NAG_TLS_END(%r9), %rcx
        jae     \slow
        // A slot below whose frame lies at or under this one: a tail call, or frames that ended
        // without returning.
        cmpq    %rax, NAG_SLOT_STACK-NAG_SLOT_BYTES(%rcx)
        jbe     7f
5:      leaq    NAG_SLOT_BYTES(%rcx), %rdx
        movq    %rdx, %fs:NAG_TLS_TOP(%r9)
        movq    %rax, NAG_SLOT_STACK(%rcx)
        movq    (%rax), %rdx
        movq    %rdx, NAG_SLOT_RETURN(%rcx)
        movq    %r11, NAG_SLOT_FUNCTION(%rcx)
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

        .macro  GRAPH_ENTRY name, location, hook
        .globl  \name
        .hidden \name
        .type   \name, @function
        .p2align 6
\name:
        PREPARE \location
        .ifc    \hook, hook
        HOOK    8f
        .endif
        movq    %fs:NAG_TLS_BUFFER(%r9), %r9
        testq   %r9, %r9
        jz      9f
1:      TIMESTAMP 9f
        cmpq    $63, %r8
        ja      2f
        cmpl    $255, %r11d
        ja      2f
        // 2 bytes: function << 8 | delta << 2 | 2
        COMMIT  2, 1b
        leal    2(,%r8,4), %eax
        shll    $8, %r11d
        orl     %r11d, %eax
        movw    %ax, (%rcx)
        RESTORE
        ret
2:      cmpq    $255, %r8
        ja      3f
        cmpl    $8191, %r11d
        ja      3f
        // 3 bytes: function << 11 | delta << 3 | 4
        COMMIT  3, 1b
        leal    4(,%r8,8), %eax
        shll    $11, %r11d
        orl     %r11d, %eax
        movw    %ax, (%rcx)
        shrl    $16, %eax
        movb    %al, 2(%rcx)
        RESTORE
        ret
3:      cmpq    $0xffffff, %r8
        ja      9f
        // 8 bytes: function << 32 | delta << 8 | 08
        COMMIT  8, 1b
        shlq    $8, %r8
        orq     $8, %r8
        shlq    $32, %r11
        orq     %r11, %r8
        movq    %r8, (%rcx)
        RESTORE
        ret
        .ifc    \hook, hook
        HOOK_TAIL 8f
        .endif
8:      // No slot: the whole of it in C.
        RESTORE
        .ifc    \location, entry
        jmp     nag_slow_entry
        .else
        jmp     nag_slow_mcount
        .endif
9:      // Hooked already: only the event is left to C.
        RESTORE
        jmp     nag_slow_event
        .size   \name, . - \name
        .endm

        GRAPH_ENTRY nag_graph_entry, entry, hook
        GRAPH_ENTRY nag_graph_mcount, frame, hook
        GRAPH_ENTRY nag_graph_entry_only, entry, plain

// --- what C does -----------------------------------------------------------------------------------

// Every general register is kept; C here touches no other. The stack is aligned for it.
        .macro  TO_C name, function, location
        .globl  \name
        .hidden \name
        .type   \name, @function
        .p2align 4
\name:
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        movl    %r11d, %edi
        .ifc    \location, entry
        leaq    72(%rsp), %rsi
        .else
        leaq    8(%rbp), %rsi
        .endif
        pushq   %rbx
        movq    %rsp, %rbx
        andq    $-16, %rsp
        callq   \function
        movq    %rbx, %rsp
        popq    %rbx
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rdx
        popq    %rcx
        popq    %rax
        ret
        .size   \name, . - \name
        .endm

        TO_C    nag_slow_entry, nag_enter, entry
        TO_C    nag_slow_mcount, nag_enter, frame
        TO_C    nag_slow_event, nag_enter_event, entry
        TO_C    nag_slow_function_entry, nag_enter_function, entry
        TO_C    nag_slow_function_mcount, nag_enter_function, frame

// Tracer `function`: ENTRY and PARENT, 16 bytes in one commit; no return is hooked.
        .macro  FUNCTION_ENTRY name, location, slow
        .globl  \name
        .hidden \name
        .type   \name, @function
        .p2align 6
\name:
        SAVE
        movq    nag_self@gottpoff(%rip), %r9
        movq    %fs:NAG_TLS_BUFFER(%r9), %r9
        testq   %r9, %r9
        jz      9f
1:      TIMESTAMP 9f
        cmpq    $0xffffff, %r8
        ja      9f
        COMMIT  16, 1b
        shlq    $8, %r8
        orq     $8, %r8
        shlq    $32, %r11
        orq     %r11, %r8
        movq    %r8, (%rcx)
        .ifc    \location, entry
        movq    SAVED+8(%rsp), %rax
        .else
        movq    8(%rbp), %rax
        .endif
        shlq    $16, %rax
        shrq    $8, %rax
        orq     $0x30, %rax
        movq    %rax, 8(%rcx)
        RESTORE
        ret
9:      RESTORE
        jmp     \slow
        .size   \name, . - \name
        .endm

        FUNCTION_ENTRY nag_function_entry, entry, nag_slow_function_entry
        FUNCTION_ENTRY nag_function_mcount, frame, nag_slow_function_mcount

// --- returns ---------------------------------------------------------------------------------------

// A trampoline (32 bytes, the same for every slot) comes here with its slot in r11. rax, rdx and
// the vector registers hold results; rcx, rsi, rdi, r8 to r11 are free.
        .globl  nag_graph_exit
        .hidden nag_graph_exit
        .type   nag_graph_exit, @function
        .p2align 6
nag_graph_exit:
        movq    nag_self@gottpoff(%rip), %r10
        leaq    NAG_SLOT_BYTES(%r11), %rcx
        cmpq    %rcx, %fs:NAG_TLS_TOP(%r10)
        jne     8f
        // The frame that returns is the slot's own, not an older one that seemed to be over.
        leaq    -8(%rsp), %rcx
        cmpq    %rcx, NAG_SLOT_STACK(%r11)
        jne     8f
        movq    %rax, %rsi
        movq    %rdx, %rdi
        movq    %fs:NAG_TLS_BUFFER(%r10), %r9
        testq   %r9, %r9
        jz      8f
1:      TIMESTAMP 7f
        cmpq    $63, %r8
        ja      2f
        // 1 byte: delta << 2 | 1
        COMMIT  1, 1b
        leal    1(,%r8,4), %eax
        movb    %al, (%rcx)
        jmp     3f
2:      cmpq    $16383, %r8
        ja      7f
        // 2 bytes: delta << 2 | 3
        COMMIT  2, 1b
        leal    3(,%r8,4), %eax
        movw    %ax, (%rcx)
3:      movq    NAG_SLOT_RETURN(%r11), %rcx
        movq    $-1, NAG_SLOT_STACK(%r11)
        movq    %r11, %fs:NAG_TLS_TOP(%r10)
        movq    %rsi, %rax
        movq    %rdi, %rdx
        jmp     *%rcx
7:      movq    %rsi, %rax
        movq    %rdi, %rdx
8:
        jmp     nag_slow_exit
        .size   nag_graph_exit, . - nag_graph_exit

// The same in C. rsp is just above where the return address was.
        .macro  EXIT_TO_C name, function
        .globl  \name
        .hidden \name
        .type   \name, @function
        .p2align 4
\name:
        pushq   %rax
        pushq   %rdx
        movq    %r11, %rdi
        leaq    8(%rsp), %rsi
        pushq   %rbx
        movq    %rsp, %rbx
        andq    $-16, %rsp
        callq   \function
        movq    %rbx, %rsp
        popq    %rbx
        movq    %rax, %rcx
        popq    %rdx
        popq    %rax
        jmp     *%rcx
        .size   \name, . - \name
        .endm

        EXIT_TO_C nag_slow_exit, nag_leave
        EXIT_TO_C nag_profile_exit, nag_leave_profile
        EXIT_TO_C nag_gated_exit, nag_leave_gated

// --- hits ------------------------------------------------------------------------------------------

        .globl  nag_hits_entry
        .hidden nag_hits_entry
        .type   nag_hits_entry, @function
        .p2align 6
nag_hits_entry:
        pushq   %rax
        movq    nag_self@gottpoff(%rip), %rax
        movq    %fs:NAG_TLS_BUFFER(%rax), %rax
        testq   %rax, %rax
        jz      9f
        cmpq    %r11, NAG_BUFFER_COUNTED(%rax)
        jbe     9f
        movq    NAG_BUFFER_COUNTS(%rax), %rax
        incq    (%rax,%r11,8)
        popq    %rax
        ret
9:      popq    %rax
        jmp     nag_slow_hits
        .size   nag_hits_entry, . - nag_hits_entry

        TO_C    nag_slow_hits, nag_enter_hits, entry
// --- call tree -------------------------------------------------------------------------------------

        .macro  TREE_ENTRY name, location, slow
        .globl  \name
        .hidden \name
        .type   \name, @function
        .p2align 6
\name:
        PREPARE \location
        movq    %fs:NAG_TLS_BUFFER(%r9), %r9
        testq   %r9, %r9
        jz      9f
        // Another stack than the thread's own, or no tree yet (a size of zero).
        movq    %rax, %rdx
        subq    NAG_BUFFER_STACK_LOW(%r9), %rdx
        cmpq    NAG_BUFFER_STACK_SIZE(%r9), %rdx
        jae     9f
        movq    NAG_BUFFER_TREE_TOP(%r9), %rcx
1:      cmpq    %rax, (%rcx)
        ja      2f
        subq    $16, %rcx
        jmp     1b
2:      movq    8(%rcx), %rdx
        movq    NAG_NODE_LAST(%rdx), %rdx
        cmpl    %r11d, NAG_NODE_FUNCTION(%rdx)
        jne     9f
        addq    $16, %rcx
        cmpq    NAG_BUFFER_TREE_END(%r9), %rcx
        jae     9f
        movq    NAG_NODE_SHARED(%rdx), %r8
        incq    8(%r8)
        movq    %rax, (%rcx)
        movq    %rdx, 8(%rcx)
        movq    %rcx, NAG_BUFFER_TREE_TOP(%r9)
        RESTORE
        ret
9:      RESTORE
        jmp     \slow
        .size   \name, . - \name
        .endm

        TREE_ENTRY nag_tree_entry, entry, nag_slow_tree_entry
        TREE_ENTRY nag_tree_mcount, frame, nag_slow_tree_mcount
        TO_C    nag_slow_tree_entry, nag_enter_tree, entry
        TO_C    nag_slow_tree_mcount, nag_enter_tree, frame

        TO_C    nag_ask_thread, nag_thread_ask, entry

// --- tracers in C ------------------------------------------------------------------------------------

        TO_C    nag_profile_entry, nag_enter_profile, entry
        TO_C    nag_profile_mcount, nag_enter_profile, frame
        TO_C    nag_profile_only, nag_enter_profile_only, entry
        TO_C    nag_gated_only, nag_enter_gated_only, frame
        TO_C    nag_gated_entry, nag_enter_gated, entry
        TO_C    nag_gated_mcount, nag_enter_gated, frame
        TO_C    nag_window_entry, nag_enter_window, entry
        TO_C    nag_window_mcount, nag_enter_window, frame

// --- what unpatched sites call -----------------------------------------------------------------------

        .globl  mcount, _mcount, __fentry__
        .type   mcount, @function
        .type   _mcount, @function
        .type   __fentry__, @function
        .p2align 4
mcount:
_mcount:
__fentry__:
        ret
        .size   mcount, . - mcount

// void nag_with_vectors(void (*function)(void *), void *argument, uint64_t area): calls into libc
// from a slow path, with all vector state kept. `area`: bytes that XSAVE needs.
        .globl  nag_with_vectors
        .hidden nag_with_vectors
        .type   nag_with_vectors, @function
        .p2align 4
nag_with_vectors:
        pushq   %rbp
        movq    %rsp, %rbp
        pushq   %rbx
        pushq   %r12
        movq    %rdi, %rbx
        subq    %rdx, %rsp
        andq    $-64, %rsp
        movq    %rsp, %r12
        // The header of the area must be zero before the first XSAVE.
        movq    $0, 512(%r12)
        movq    $0, 520(%r12)
        movq    $0, 528(%r12)
        movq    $0, 536(%r12)
        movq    $0, 544(%r12)
        movq    $0, 552(%r12)
        movq    $0, 560(%r12)
        movq    $0, 568(%r12)
        movl    $-1, %eax
        movl    $-1, %edx
        xsave   (%r12)
        movq    %rsi, %rdi
        callq   *%rbx
        movl    $-1, %eax
        movl    $-1, %edx
        xrstor  (%r12)
        leaq    -16(%rbp), %rsp
        popq    %r12
        popq    %rbx
        popq    %rbp
        ret
        .size   nag_with_vectors, . - nag_with_vectors

        .section .note.GNU-stack, "", @progbits
