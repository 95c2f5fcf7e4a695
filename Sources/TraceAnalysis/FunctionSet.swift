// SPDX-License-Identifier: Apache-2.0

/// A set of function numbers with a quick test: most sets are empty.
public struct FunctionSet: Sendable {
  @usableFromInline var words: [UInt64] = []
  private static let largest: UInt64 = 1 << 24

  /// A set of these numbers.
  public init(_ numbers: some Sequence<UInt64> = []) {
    for number in numbers where number < Self.largest {
      let word = Int(number >> 6)
      if word >= words.count {
        words += Array(repeating: 0, count: word + 1 - words.count)
      }
      words[word] |= 1 << (number & 63)
    }
  }

  /// Whether the set has `number`.
  @inlinable
  public func contains(_ number: UInt32) -> Bool {
    let word = Int(number >> 6)
    return word < words.count && words[word] & (1 << UInt64(number & 63)) != 0
  }
}
