// SPDX-License-Identifier: Apache-2.0
//
// The address range of all trampolines and, NAG_SHADOW_DISTANCE above it, of their slots
// (shadow.c), as a segment of the agent without contents, so that every unwinder finds the one rule
// that serves all trampolines where it finds the rules of any other code: in the agent's .eh_frame,
// through dl_iterate_phdr. That holds for unwinders that are linked statically or loaded later.
//
// When a callee has returned or is being unwound, its trampoline's address is the word below the
// stack pointer; the slot stands at a constant distance, and holds the real return address.
//
//   CFA             rsp - 1: an identity that no real frame has
//   rsp (7)         as it is
//   return (16)     *(*(rsp - 8) + NAG_SHADOW_DISTANCE)
//
// DWARF 4, 6.4; System V ABI for x86-64, 3.7. The segment is read-only to cost no commitment of
// memory; the linker is told its address (Package.swift), for with one of its own choice it would
// become a part of the writable segment.

#include "agent.h"

        .set    BREG7, 0x77
        .set    DEREF, 0x06
        .set    PLUS, 0x22
        .set    CONST4U, 0x0c
        .set    DEF_CFA_EXPRESSION, 0x0f
        .set    VAL_EXPRESSION, 0x16

        .section .nopscope.trampolines, "a", @nobits
        .globl  nag_trampolines
        .hidden nag_trampolines
        .p2align 16
nag_trampolines:
        .cfi_startproc
        .cfi_escape DEF_CFA_EXPRESSION, 2, BREG7, 0x7f
        .cfi_escape VAL_EXPRESSION, 7, 2, BREG7, 0
        .cfi_escape VAL_EXPRESSION, 16, 10, BREG7, 0x78, DEREF, CONST4U, \
            NAG_SHADOW_DISTANCE & 0xff, NAG_SHADOW_DISTANCE >> 8 & 0xff, \
            NAG_SHADOW_DISTANCE >> 16 & 0xff, NAG_SHADOW_DISTANCE >> 24, PLUS, DEREF
        .skip   NAG_SHADOW_DISTANCE
        .cfi_endproc
        .skip   NAG_SHADOW_DISTANCE

        .section .note.GNU-stack, "", @progbits
