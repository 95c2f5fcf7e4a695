// SPDX-License-Identifier: Apache-2.0

/// The kinds of instructions that a patcher of call sites distinguishes.
///
/// The raw values are those of `CInstructionKinds.h`, `NIK_OTHER` to `NIK_ENDBR64`.
public enum InstructionKind: UInt8, Sendable, CaseIterable {
  case other, call, callSlot, nop, `return`, jump, jumpSlot, endbr64
}
