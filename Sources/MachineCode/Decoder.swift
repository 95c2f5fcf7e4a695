// SPDX-License-Identifier: Apache-2.0

import CMachineCode
public import Units

/// One decoded instruction, as far as a patcher of call sites has to distinguish instructions.
@frozen
public struct Instruction<Space>: Equatable, Sendable {
  /// What it is.
  public var kind: InstructionKind
  /// In bytes.
  public var length: Int
  /// The destination of a direct call or jump, the slot's address of an indirect one, else 0.
  public var target: Address<Space>

  @inlinable
  init(kind: InstructionKind, length: Int, target: Address<Space>) {
    self.kind = kind
    self.length = length
    self.target = target
  }
}

/// Capstone is missing or does not work.
public struct DecoderUnavailable: Error, CustomStringConvertible {
  /// Why, as the loader or Capstone says it.
  public var reason: String
  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    "Capstone cannot decode x86-64 here: \(reason); \(CapstonePackage.advice())"
  }
}

/// Capstone, for x86-64.
///
/// Allocates when it is made and never again; belongs to one thread at a time.
public final class Decoder {
  /// An `nmc_decoder`, for C that decodes by itself: the patch core's verifier.
  public let handle: OpaquePointer

  /// Loads Capstone if nothing has loaded it yet.
  ///
  /// Throws where there is none, or none that decodes as expected.
  public init() throws(DecoderUnavailable) {
    var reason: UnsafePointer<CChar>?
    guard let handle = nmc_decoder_create(&reason) else {
      throw DecoderUnavailable(reason: reason.map { String(cString: $0) } ?? "unknown error")
    }
    self.handle = handle
  }

  deinit { nmc_decoder_destroy(handle) }

  /// Decodes the first instruction of `bytes` as if it were at `address`; nil if it is none.
  @inlinable
  public func decode<Space>(
    _ bytes: UnsafeRawBufferPointer, at address: Address<Space>
  ) -> Instruction<Space>? {
    decode(bytes, atNumber: address.rawValue).map {
      Instruction(kind: $0.kind, length: $0.length, target: Address($0.target))
    }
  }

  /// The same for any space; the one place that calls Capstone's decoder.
  @usableFromInline
  func decode(
    _ bytes: UnsafeRawBufferPointer, atNumber address: UInt64
  ) -> (kind: InstructionKind, length: Int, target: UInt64)? {
    var found = nmc_instruction()
    guard let start = bytes.baseAddress,
      nmc_decode(
        handle, start.assumingMemoryBound(to: UInt8.self), bytes.count, address, &found),
      let kind = InstructionKind(rawValue: found.kind)
    else { return nil }
    return (kind, Int(found.length), found.target)
  }

  /// Text of the first instruction of `bytes`, as Capstone prints it: `call 0x7f0012341030`.
  ///
  /// `(bad)` where Capstone decodes none.
  public func text(_ bytes: [UInt8], at address: Address<some Any>) -> String {
    guard bytes.withUnsafeBytes({ decode($0, at: address) }) != nil else { return "(bad)" }
    let operands = String(cString: nmc_operands(handle))
    let mnemonic = String(cString: nmc_mnemonic(handle))
    return operands.isEmpty ? mnemonic : "\(mnemonic) \(operands)"
  }
}
