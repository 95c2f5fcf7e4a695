// SPDX-License-Identifier: Apache-2.0
//
// Macros of the hot path, which stands in graph.S, function.S and counts.S. An armed site calls its
// own stub (sites.c),
//
//      41 bb imm32      mov  $function, %r11d
//      ff 25 disp32     jmp  *handler(%rip)
//
// and the handler finds its function's number in %r11d, and the traced function's return address at
//
//      entry   8(%rsp)    a call at the function's first byte (fentry, patchable)
//      frame   8(%rbp)    a call behind the prologue (mcount)
//      kept    32(%rsp)   as `entry`, behind what the KEPT front has pushed
//
// Every register but r11 and the flags is kept: r11 is no argument and dead at an entry. gcc's
// -fpatchable-function-entry leaves IPA-RA on, under which a caller may keep values in any register
// that the callee, as compiled, leaves alone, r11 among them: its sites have the `kept` handlers.
//
// An event is committed by one compare-and-exchange of the buffer's state, (time << 16 | offset),
// and stored afterwards. A signal handler between the two writes behind it; one before the
// exchange makes it fail, and it is made again. No lock prefix: only this thread writes the state.

#ifndef NAG_STUBS_H
#define NAG_STUBS_H

#include "agent.h"

        .set    NREC_SHIFT, 1

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

// Writes ENTRY of \number (\half: its low half, which is spoilt) in the shortest form that holds it,
// and goes to \done; to \again where COMMIT does, to \long where none of these forms holds it.
        .macro  SHORT_ENTRY number, half, again, done, long
        cmpq    $63, %r8
        ja      2f
        cmpl    $255, \half
        ja      2f
        // 2 bytes: number << 8 | delta << 2 | 2
        COMMIT  2, \again
        leal    2(,%r8,4), %eax
        shll    $8, \half
        orl     \half, %eax
        movw    %ax, (%rcx)
        jmp     \done
2:      cmpl    $8191, \half
        ja      \long
        cmpq    $255, %r8
        ja      3f
        // 3 bytes: number << 11 | delta << 3 | 4
        COMMIT  3, \again
        leal    4(,%r8,8), %eax
        shll    $11, \half
        orl     \half, %eax
        movw    %ax, (%rcx)
        shrl    $16, %eax
        movb    %al, 2(%rcx)
        jmp     \done
3:      cmpq    $32767, %r8
        ja      \long
        // 4 bytes: number << 19 | delta << 4 | 8
        COMMIT  4, \again
        shll    $4, %r8d
        shll    $19, \half
        leal    8(%r8,\number), %eax
        movl    %eax, (%rcx)
        jmp     \done
        .endm

// 8 bytes: function << 32 | delta << 8 | 60
        .macro  LONG_ENTRY
        shlq    $8, %r8
        orq     $0x60, %r8
        shlq    $32, %r11
        orq     %r11, %r8
        movq    %r8, (%rcx)
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

// The front of a handler for `kept` sites, whose stub has pushed the function's number and left r11
// alone:
//
//      (%rsp) number   8(%rsp) into the traced function   16(%rsp) its return address
//
// `hooks`: bit 32 of r11 tells the handler that its function's return is of that kind too.
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
