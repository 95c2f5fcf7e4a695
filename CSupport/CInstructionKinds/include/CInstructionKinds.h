// SPDX-License-Identifier: Apache-2.0
//
// The kinds of instructions that a patcher distinguishes: a decoder reports them, and a verifier is
// asked to confirm them. Header only, for the decoder (CMachineCode), the patch core and the agent.
// `InstructionKind` of MachineCode has the same numbers in Swift; a test compares them.

#ifndef CINSTRUCTIONKINDS_H
#define CINSTRUCTIONKINDS_H

enum {
  NIK_OTHER = 0,
  NIK_CALL = 1,           ///< `e8 rel32`, also `67 e8 rel32`; target: the destination
  NIK_CALL_SLOT = 2,      ///< `ff 15 disp32`: call *slot(%rip); target: the slot's address
  NIK_NOP = 3,            ///< a nop of any length; no target
  NIK_RETURN = 4,         ///< near return; no target
  NIK_JUMP = 5,           ///< `eb`/`e9`; target: the destination
  NIK_JUMP_SLOT = 6,      ///< `ff 25 disp32`: jmp *slot(%rip); target: the slot's address
  NIK_ENDBR64 = 7,        ///< `f3 0f 1e fa`
  NIK_NOP_RUN = 8,        ///< only as an expectation: `length` bytes of one-byte nops (90)
};

#endif
