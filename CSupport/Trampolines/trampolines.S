// SPDX-License-Identifier: Apache-2.0
//
// The address range of all trampolines and, NAG_SHADOW_DISTANCE above it, of their slots
// (CSupport/Agent/shadow.c). It is a segment without contents. Because of it, every unwinder finds
// the one rule for all trampolines where it finds the rules of any other code: in a loaded file's
// .eh_frame, through dl_iterate_phdr. That also holds for unwinders that are linked statically or
// loaded later.
//
// A frame whose return address is a trampoline is unwound by the trampoline's address alone: its
// slot is at a constant distance and holds the real return address. That may be another trampoline:
// the function was reached by a tail call. An unwinder takes two frames with one identity for a
// loop, so the slot's number is a part of the identity.
//
//   CFA             rsp - 1 - (pc / 32 & 3): an identity that no real frame has
//   rsp (7)         as it is
//   return (16)     *((pc & ~31) + NAG_SHADOW_DISTANCE)
//
// The rule names a personality routine. Unwinders call it for each hooked frame that an exception or
// a cancellation ends, and it tells the agent, which takes the time.
//
// DWARF 4, 6.4; System V ABI for x86-64, 3.7. The segment is read-only, so that it counts as no
// committed memory. Package.swift gives the linker the segment's address: if the linker chose it,
// the segment would become a part of the writable segment.

#include "Trampolines.h"

        .set    DEREF, 0x06
        .set    CONST4U, 0x0c
        .set    AND, 0x1a
        .set    MINUS, 0x1c
        .set    NOT, 0x20
        .set    PLUS, 0x22
        .set    SHR, 0x25
        .set    LIT0, 0x30
        .set    BREG0, 0x70
        .set    DEF_CFA_EXPRESSION, 0x0f
        .set    VAL_EXPRESSION, 0x16
        .set    PC_RELATIVE_4, 0x1b
        .set    RSP, 7
        .set    PC, 16

        .section .nopscope.trampolines, "a", @nobits
        .p2align 16
.Lstart:
        .cfi_startproc
        .cfi_personality PC_RELATIVE_4, personality
        .cfi_escape DEF_CFA_EXPRESSION, 9, BREG0 + RSP, 0x7f, BREG0 + PC, 0, LIT0 + 5, SHR, \
            LIT0 + 3, AND, MINUS
        .cfi_escape VAL_EXPRESSION, RSP, 2, BREG0 + RSP, 0
        .cfi_escape VAL_EXPRESSION, PC, 12, BREG0 + PC, 0, LIT0 + 31, NOT, AND, CONST4U, \
            NAG_SHADOW_DISTANCE & 0xff, NAG_SHADOW_DISTANCE >> 8 & 0xff, \
            NAG_SHADOW_DISTANCE >> 16 & 0xff, NAG_SHADOW_DISTANCE >> 24, PLUS, DEREF
        .skip   NAG_SHADOW_DISTANCE
        .cfi_endproc
        .skip   NAG_SHADOW_DISTANCE

// _Unwind_Reason_Code personality(int version, _Unwind_Action actions, uint64_t class, struct
// _Unwind_Exception *, struct _Unwind_Context *): Itanium C++ ABI, Exception Handling, 1.3 and 2.5.2.
// The agent's function has the same arguments and result, and a sixth argument: where the unwinder
// called.
        .set    CLEANUP_PHASE, 2
        .set    CONTINUE_UNWIND, 8
        .text
        .type   personality, @function
personality:
        .cfi_startproc
        testb   $CLEANUP_PHASE, %sil
        jz      1f
        movq    unwinding(%rip), %rax
        testq   %rax, %rax
        jz      1f
        movq    (%rsp), %r9
        jmpq    *%rax
1:      movl    $CONTINUE_UNWIND, %eax
        ret
        .cfi_endproc
        .size   personality, . - personality

// Set by the agent: what the personality routine calls; 0: nothing.
        .bss
        .globl  nopscope_unwinding
        .type   nopscope_unwinding, @object
        .p2align 3
nopscope_unwinding:
unwinding:
        .skip   8
        .size   nopscope_unwinding, 8

// The range's address, in a variable. If the range itself had a symbol, a backtrace would show that
// symbol as the name of each hooked frame.
        .section .data.rel.ro, "aw"
        .globl  nopscope_trampolines
        .type   nopscope_trampolines, @object
        .p2align 3
nopscope_trampolines:
        .quad   .Lstart
        .size   nopscope_trampolines, 8

        .section .note.GNU-stack, "", @progbits
