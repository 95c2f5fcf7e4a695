// SPDX-License-Identifier: Apache-2.0
//
// Macros of the handlers, which are the hot path: those in graph.S, function.S, callgraph.S and
// hits.S, and those that handlers_in_c.S generates. An armed site calls its own stub (sites.c):
//
//      41 53            push %r11
//      41 bb imm32      mov  $function, %r11d
//      ff 25 disp32     jmp  *handler(%rip)
//
// The handler finds its function's number in r11 and, on the stack:
//
//      (%rsp) r11   8(%rsp) into the traced function   and the function's return address at
//
//      entry   16(%rsp)   a call at the function's first byte (fentry, patchable)
//      frame   8(%rbp)    a call behind the prologue (mcount)
//
// It pops r11 before it returns. Every register but the flags is kept, at the entry and at the
// return. By the usual calling convention some could be changed there. But a caller can expect
// more: gcc's IPA-RA (on under -fpatchable-function-entry) uses what the callee, as compiled, does
// not change; clang's preserve_most and ms_abi keep more registers, and preserve_none passes
// arguments in r11.
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

// A profiler's or a debugger's unwinder may begin at any instruction of a handler. So every change
// of the stack is described, and code behind an exit continues (RESUME) with the description from
// before it. That one is stated anew: LLVM's assembler does not restore the offset that
// .cfi_adjust_cfa_offset changes.
        .macro  DEFINE name, alignment
        .globl  \name
        .hidden \name
        .type   \name, @function
        .p2align \alignment
\name:
        .cfi_startproc
        .endm
        .macro  END name
        .cfi_endproc
        .size   \name, . - \name
        .endm
        .macro  PUSH register
        pushq   \register
        .cfi_adjust_cfa_offset 8
        .endm
        .macro  POP register
        popq    \register
        .cfi_adjust_cfa_offset -8
        .endm

// Begins the handler of an entry.
        .macro  BEGIN name, alignment=4
        DEFINE  \name, \alignment
        .cfi_def_cfa_offset 16  // a stub has pushed r11
        .endm
// Begins the handler of a return: the trampoline's address is at -8(%rsp).
        .macro  BEGIN_RETURN name, alignment=4
        DEFINE  \name, \alignment
        .cfi_def_cfa_offset 0
        .endm
// Leaves the handler: back into the traced function.
        .macro  LEAVE
        POP     %r11
        ret
        .endm

        .set    SAVED, 40  // bytes
        .macro  SAVE
        PUSH    %rax
        PUSH    %rcx
        PUSH    %rdx
        PUSH    %r8
        PUSH    %r9
        .endm
        .macro  RESTORE
        POP     %r9
        POP     %r8
        POP     %rdx
        POP     %rcx
        POP     %rax
        .endm
        .macro  RESUME pushed
        .cfi_def_cfa_offset 16 + \pushed
        .endm
        .macro  EXIT
        RESTORE
        LEAVE
        RESUME  SAVED
        .endm
        .macro  EXIT_TO handler
        RESTORE
        jmp     \handler
        RESUME  SAVED
        .endm

// \register := the address of the traced function's return address; \pushed: bytes that the handler
// has pushed.
        .macro  LOCATION location, pushed, register
        .ifc    \location, entry
        leaq    \pushed+16(%rsp), \register
        .else
        leaq    8(%rbp), \register
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

// The general registers on the stack, as C sees them: nag_registers (thread_state.h).
        .macro  PUSH_REGISTERS
        PUSH    %rax
        PUSH    %rcx
        PUSH    %rdx
        PUSH    %rsi
        PUSH    %rdi
        PUSH    %r8
        PUSH    %r9
        PUSH    %r10
        .endm
        .macro  POP_REGISTERS
        POP     %r10
        POP     %r9
        POP     %r8
        POP     %rdi
        POP     %rsi
        POP     %rdx
        POP     %rcx
        POP     %rax
        .endm

// Calls a C function with every general register kept; C code here uses no other registers. The
// stack is aligned for the call. The C function gets the function's number, the address of its
// return address, and the registers.
        .macro  TO_C name, function, location
        BEGIN   \name
        PUSH_REGISTERS
        movl    %r11d, %edi
        LOCATION \location, 64, %rsi
        movq    %rsp, %rdx
        CALL_C  \function
        POP_REGISTERS
        LEAVE
        END     \name
        .endm

// Calls C with an aligned stack.
        .macro  CALL_C function
        PUSH    %rbx
        .cfi_rel_offset %rbx, 0
        movq    %rsp, %rbx
        .cfi_def_cfa_register %rbx
        andq    $-16, %rsp
        callq   \function
        movq    %rbx, %rsp
        .cfi_def_cfa_register %rsp
        POP     %rbx
        .cfi_restore %rbx
        .endm

#endif
