// SPDX-License-Identifier: Apache-2.0
//
// Macros of the handlers, which are the hot path: graph.S, function.S, callgraph.S, hits.S, and
// what handlers_in_c.S makes. An armed site calls its own stub (sites.c),
//
//      41 bb imm32      mov  $function, %r11d
//      ff 25 disp32     jmp  *handler(%rip)
//
// and the handler finds its function's number in %r11d, and the traced function's return address at
//
//      entry   8(%rsp)    a call at the function's first byte (fentry, patchable)
//      frame   8(%rbp)    a call behind the prologue (mcount)
//      kept    32(%rsp)   as `entry`, behind what KEPT (below) has pushed
//
// Every register but r11 and the flags is kept: r11 is no argument and dead at an entry. gcc's
// -fpatchable-function-entry leaves IPA-RA on, under which a caller may keep values in any register
// that the callee, as compiled, leaves alone, r11 among them: its sites have the `kept` handlers.
//
// An event is a restartable sequence (rseq(2); the kernel's Documentation and glibc's manual,
// 2.35): it is stored behind the chunk's last and then committed by one store of the chunk's state,
// time << 16 | offset. Where a signal is delivered in between, the kernel makes the sequence begin
// again, so that a handler's own events never find a half of one, and what is never resumed (a
// handler that leaves by siglongjmp, asynchronous cancellation, SIGKILL) has left nothing. Where
// threads have no rseq area, other rows of tracer_table.h run: events are recorded in C, with
// signals blocked.

#ifndef NAG_STUBS_H
#define NAG_STUBS_H

#include "offsets.h"

        .macro  BEGIN name, alignment=4
        .globl  \name
        .hidden \name
        .type   \name, @function
        .p2align \alignment
\name:
        .endm
        .macro  END name
        .size   \name, . - \name
        .endm

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

// \register := where the traced function's return address stands; \pushed: bytes that the handler
// has pushed.
        .macro  LOCATION location, pushed, register
        .ifc    \location, entry
        leaq    \pushed+8(%rsp), \register
        .else
        .ifc    \location, kept
        leaq    \pushed+32(%rsp), \register
        .else
        leaq    8(%rbp), \register
        .endif
        .endif
        .endm

// r9 := the thread's buffer. Goes to \none where it has none.
        .macro  BUFFER none
        movq    %fs:NAG_TLS_BUFFER(%r9), %r9
        testq   %r9, %r9
        jz      \none
        .endm

// Begins an event; r9 is the buffer. rax := where it goes; rdx := time << 16 | offset; r8 := time
// since the last event. Goes to \slow where there is no chunk, or no room in it. Until COMMIT
// nothing that `1` needs may change, for there the sequence begins again.
        .macro  EVENT name, slow
1:      leaq    nag_sequence_\name(%rip), %rcx
        movq    nag_rseq(%rip), %rdx
        movq    %rcx, %fs:(%rdx)
.Lstart_\name:
        movq    NAG_BUFFER_CHUNK(%r9), %rcx
        testq   %rcx, %rcx
        jz      \slow
        rdtsc
        shlq    $32, %rdx
        orq     %rax, %rdx
        shrq    $NAG_TIME_SHIFT, %rdx
        shlq    $16, %rdx
        movq    NAG_CHUNK_STATE(%rcx), %r8
        movzwl  %r8w, %eax
        xorq    %rax, %r8
        subq    %rdx, %r8
        negq    %r8
        shrq    $16, %r8
        cmpl    $(NAG_CHUNK_BYTES - NAG_CHUNK_SLACK), %eax
        ja      \slow
        orq     %rax, %rdx
        addq    %rcx, %rax
        .endm

        .macro  COMMIT name
        movq    NAG_BUFFER_CHUNK(%r9), %rcx
        movq    %rdx, NAG_CHUNK_STATE(%rcx)
.Lcommitted_\name:
        .endm

// Behind the handler: where the kernel goes on, and what it knows of the sequence.
        .macro  RESTART name
        .byte   0x0f, 0xb9, 0x3d  // ud1, with the signature that glibc registers
        .long   0x53053053
.Lrestart_\name:
        jmp     1b
        .pushsection .data.rel.ro, "aw"
        .balign 32
nag_sequence_\name:
        .long   0, 0
        .quad   .Lstart_\name, .Lcommitted_\name - .Lstart_\name, .Lrestart_\name
        .popsection
        .endm

// Stores ENTRY of \number (\half: its low half) in the shortest form that holds it, and goes to
// \done; to \long where none of these does.
        .macro  SHORT_ENTRY number, half, done, long
        cmpq    $63, %r8
        ja      2f
        cmpl    $255, \half
        ja      2f
        // 2 bytes: number << 8 | delta << 2 | 2
        leal    2(,%r8,4), %ecx
        movl    \half, %r8d
        shll    $8, %r8d
        orl     %r8d, %ecx
        movw    %cx, (%rax)
        addq    $2, %rdx
        jmp     \done
2:      cmpl    $8191, \half
        ja      \long
        cmpq    $255, %r8
        ja      3f
        // 3 bytes: number << 11 | delta << 3 | 4
        leal    4(,%r8,8), %ecx
        movl    \half, %r8d
        shll    $11, %r8d
        orl     %r8d, %ecx
        movw    %cx, (%rax)
        shrl    $16, %ecx
        movb    %cl, 2(%rax)
        addq    $3, %rdx
        jmp     \done
3:      cmpq    $32767, %r8
        ja      \long
        // 4 bytes: number << 19 | delta << 4 | 8
        shll    $4, %r8d
        movl    \half, %ecx
        shll    $19, %ecx
        leal    8(%r8,%rcx), %ecx
        movl    %ecx, (%rax)
        addq    $4, %rdx
        jmp     \done
        .endm

// 8 bytes: function << 32 | delta << 8 | NAG_EVENT_ENTRY
        .macro  LONG_ENTRY
        shlq    $8, %r8
        orq     $NAG_EVENT_ENTRY, %r8
        movl    %r11d, %ecx
        shlq    $32, %rcx
        orq     %rcx, %r8
        movq    %r8, (%rax)
        .endm

// Calls C with every general register kept; C here touches no other. The stack is aligned for it.
// C gets the function's number, where its return address stands, and whether its caller's
// registers must be kept at its return too.
        .macro  TO_C name, function, location
        BEGIN   \name
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        movl    %r11d, %edi
        movq    %r11, %rdx
        shrq    $32, %rdx
        LOCATION \location, 64, %rsi
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
        END     \name
        .endm

// The handler of `kept` sites: keeps r11 too, and calls the handler \handler. The stub has pushed
// the function's number and left r11 alone:
//
//      (%rsp) number   8(%rsp) into the traced function   16(%rsp) its return address
//
// `hooks`: bit 32 of r11 tells the handler that the function's caller must find all registers kept
// at its return too.
        .macro  KEPT name, handler, hooks
        BEGIN   \name
        pushq   %r11
        movl    8(%rsp), %r11d
        .ifnb   \hooks
        btsq    $32, %r11
        .endif
        callq   \handler
        popq    %r11
        leaq    8(%rsp), %rsp
        ret
        END     \name
        .endm

#endif
