// SPDX-License-Identifier: Apache-2.0

/// The kinds of instructions that a patcher of call sites tells apart.
///
/// The raw values are `NMC_OTHER` to `NMC_ENDBR64` of `CMachineCode.h`.
public enum InstructionKind: UInt8, Sendable {
  case other, call, callSlot, nop, `return`, jump, jumpSlot, endbr64
}
