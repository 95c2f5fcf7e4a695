// SPDX-License-Identifier: Apache-2.0

import CallSites
public import Units

/// The bytes of one site, five or six, in a word: byte 0 is the lowest. No allocation, and the
/// comparison of two is one instruction.
public struct Code: Equatable, Sendable {
  /// The bytes, the first one lowest; those beyond `length` are zero.
  public var word: UInt64
  /// Number of bytes.
  public var length: Int

  typealias Bytes = (UInt8, UInt8, UInt8, UInt8, UInt8, UInt8)

  init(word: UInt64, length: Int) {
    self.word = word
    self.length = length
  }

  /// The bytes as they are in memory.
  public init(_ bytes: some Collection<UInt8>) {
    self.init(
      word: bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }, length: bytes.count)
  }

  /// The nop of that many bytes, one instruction: `0f 1f 44 00 00`, `66 0f 1f 44 00 00`
  /// (Intel SDM vol. 2, NOP, recommended multi-byte sequences).
  public static func nop(length: Int) -> Code {
    length == 5
      ? Code(word: 0x00_00_44_1f_0f, length: 5) : Code(word: 0x00_00_44_1f_0f_66, length: 6)
  }

  /// A direct call, one instruction: `e8 rel32`, or `67 e8 rel32` where the site has six bytes.
  /// nil if `destination` is out of reach.
  public static func call(
    to destination: CodeAddress, at address: CodeAddress, length: Int
  ) -> Code? {
    let distance = Int64(bitPattern: destination &- (address &+ UInt64(length)))
    guard let displacement = Int32(exactly: distance) else { return nil }
    let operand = UInt64(UInt32(bitPattern: displacement))
    return length == 5
      ? Code(word: operand << 8 | 0xe8, length: 5)
      : Code(word: operand << 16 | 0xe867, length: 6)
  }

  /// The bytes as they are in memory.
  public var bytes: [UInt8] {
    (0..<length).map { UInt8(truncatingIfNeeded: word >> UInt64($0 * 8)) }
  }

  var tuple: Bytes {
    func byte(_ index: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: word >> (index * 8)) }
    return (byte(0), byte(1), byte(2), byte(3), byte(4), byte(5))
  }
}
