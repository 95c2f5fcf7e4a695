// SPDX-License-Identifier: Apache-2.0

public import Units

/// A place that looked like a call site, or was listed as one, and is not used.
public struct SkippedSite: Equatable, Sendable {
  /// Why a place is not used.
  public enum Reason: Equatable, Sendable {
    case noFunctionStart
    case notAnInstructionBoundary
    case undecodable
    case otherInstruction
    case otherTarget
    case prefixedCall
    case outsideText
    case notAtFunctionEntry
    case overlappingArea
    case functionHasCall
    case areaTooShort(bytes: UInt8)
    case instructionTooLong(bytes: UInt8)
    case mixedArea(bytes: UInt8)
  }

  /// Link-time address.
  public var offset: ModuleOffset
  /// Why it is not used.
  public var why: Reason

  /// One line for people.
  public var reason: String { why.description }

  /// A place at link-time address `offset` that is not used because of `why`.
  public init(offset: ModuleOffset, why: Reason) {
    self.offset = offset
    self.why = why
  }
}

extension SkippedSite.Reason: CustomStringConvertible {
  /// The reason in words, as `nopscope sites --skipped` prints it.
  public var description: String {
    switch self {
    case .noFunctionStart:
      "no function start known: neither a symbol nor .eh_frame covers it"
    case .notAnInstructionBoundary:
      "not at an instruction boundary: the bytes lie inside another instruction"
    case .undecodable: "the function's bytes before it do not decode as instructions"
    case .otherInstruction: "listed by the compiler, but neither a call nor a nop of 5 or 6 bytes"
    case .otherTarget: "listed by the compiler, but it calls neither mcount nor __fentry__"
    case .prefixedCall: "a call with a prefix other than 67"
    case .outsideText: "outside the executable segments"
    case .notAtFunctionEntry: "patchable area that is not at a function's entry"
    case .overlappingArea: "overlaps another patchable area"
    case .functionHasCall: "patchable area of a function that calls mcount or __fentry__ too"
    case .areaTooShort(let bytes):
      "patchable area of \(bytes) bytes at the entry, shorter than 5 bytes"
    case .instructionTooLong(let bytes):
      "patchable area is one instruction of \(bytes) bytes, longer than 6 bytes"
    case .mixedArea(let bytes):
      "patchable area starts with a nop of \(bytes) bytes: "
        + "expected one of 5 or 6 bytes, or five of one byte"
    }
  }
}
