// SPDX-License-Identifier: Apache-2.0
//
// Macros of the handlers, which are the hot path: those in graph.S, function.S, callgraph.S and
// hits.S, and those that handlers_in_c.S generates. An armed site calls its own stub (sites.c):
//
//      41 bb imm32      mov  $function, %r11d
//      ff 25 disp32     jmp  *handler(%rip)
//
// The handler finds its function's number in %r11d, and the traced function's return address at
//
//      entry   8(%rsp)    a call at the function's first byte (fentry, patchable)
//      frame   8(%rbp)    a call behind the prologue (mcount)
//      kept    32(%rsp)   as `entry`, behind what KEPT (below) has pushed
//
// Every register but r11 and the flags is kept: r11 holds no argument and is dead at an entry.
// gcc's -fpatchable-function-entry leaves IPA-RA on. Under it, a caller may keep values in any
// register that the callee, as compiled, does not change, r11 among them. So these sites have the
// `kept` handlers.
//
// An event is written by a restartable sequence (rseq(2); the kernel's Documentation and glibc's
// manual, 2.35). The event is stored behind the chunk's last one and then committed by one store of
// the chunk's state, time << 16 | offset. If a signal arrives in between, the kernel restarts the
// sequence. So a signal handler's own events never find half an event, and a sequence that never
// resumes (the signal handler leaves by siglongjmp, asynchronous cancellation, SIGKILL) leaves
// nothing behind. Where threads have no rseq area, other rows of tracer_table.h run: C records the
// events, with signals blocked.

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

// \register := the address of the traced function's return address; \pushed: bytes that the handler
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

// r9 := the thread's buffer. Jumps to \none where there is none.
        .macro  BUFFER none
        movq    %fs:NAG_TLS_BUFFER(%r9), %r9
        testq   %r9, %r9
        jz      \none
        .endm

// Begins an event; r9 is the buffer. rax := where to store it; rdx := time << 16 | offset; r8 :=
// time since the last event. Jumps to \slow where there is no chunk, or no room in it. The sequence
// restarts at `1`, so until COMMIT nothing that the code at `1` needs may change.
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

// Placed behind the handler: where the kernel restarts the sequence, and the sequence's descriptor.
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

// Stores ENTRY of \number (\half: its low half) in the shortest form that holds it, and jumps to
// \done. Jumps to \long where no short form can hold it.
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

// Calls a C function with every general register kept; C code here uses no other registers. The
// stack is aligned for the call. The C function gets the function's number, the address of its
// return address, and whether its caller's registers must also be kept at its return.
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
// the function's number and left r11 unchanged:
//
//      (%rsp) number   8(%rsp) into the traced function   16(%rsp) its return address
//
// `hooks`: bit 32 of r11 tells the handler that all registers of the function's caller must also be
// kept at the function's return.
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
