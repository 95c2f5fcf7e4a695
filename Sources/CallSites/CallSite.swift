// SPDX-License-Identifier: Apache-2.0

public import Units

/// One instrumented instruction of one file: the compiler's call to mcount or __fentry__, or the
/// nops it left for one.
///
/// 16 bytes: a library has hundreds of thousands.
public struct CallSite: Equatable, Sendable {
  /// What is there.
  public enum Form: UInt8, Sendable, CaseIterable {
    /// `e8 rel32`: call to a PLT stub, or to mcount itself.
    case e8
    /// `ff 15 disp32`: call through a GOT slot.
    case ff15
    /// `67 e8 rel32`: what linkers make of `ff 15` when the target turns out to be near.
    case addr32e8
    /// One nop of five bytes.
    case nop5
    /// One nop of six bytes.
    case nop6
    /// Five nops of one byte, `90`: a thread can be between them.
    case nop1x5

    /// Bytes that the form occupies.
    @inlinable
    public var length: Int { self == .ff15 || self == .addr32e8 || self == .nop6 ? 6 : 5 }

    /// Its name in JSON and in tables.
    public var name: String {
      switch self {
      case .e8: "e8"
      case .ff15: "ff15"
      case .addr32e8: "67e8"
      case .nop5: "nop5"
      case .nop6: "nop6"
      case .nop1x5: "nop1x5"
      }
    }
  }

  /// What the compiler put it there for.
  public enum Kind: UInt8, Sendable, CaseIterable {
    /// `-pg`: after the prologue.
    case mcount
    /// `-pg -mfentry`: at the function's entry.
    case fentry
    /// `-fpatchable-function-entry`: at the function's entry.
    case patchable

    /// Its name in output: `mcount`, `fentry` or `patchable`.
    public var name: String {
      switch self {
      case .mcount: "mcount"
      case .fentry: "fentry"
      case .patchable: "patchable"
      }
    }
  }

  /// Link-time address of its first byte.
  public var offset: ModuleOffset
  /// Bytes from its function's start.
  public var functionOffset: UInt32
  /// How the call is written.
  public var form: Form
  /// Which option of the compiler put it there.
  public var kind: Kind
  // So that size and stride are the same 16 bytes, the unit of the recorded table.
  private var reserved: UInt16 = 0

  /// A site at link-time address `offset`, `functionOffset` bytes into its function.
  public init(offset: ModuleOffset, functionOffset: UInt32, form: Form, kind: Kind) {
    self.offset = offset
    self.functionOffset = functionOffset
    self.form = form
    self.kind = kind
  }

  /// In bytes: 5 or 6.
  @inlinable
  public var length: Int { form.length }
  /// Link-time address of its function's first byte.
  public var functionStart: ModuleOffset { offset - UInt64(functionOffset) }
}
