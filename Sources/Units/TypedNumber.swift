// SPDX-License-Identifier: Apache-2.0

/// A 64-bit number that means one thing: an address in one space, a distance, a time. Two such types
/// cannot be mixed up, as two plain numbers can.
///
/// A type declares its number and gets the rest from here: equality, the order where it says that it
/// has one, text, and its form in a file. It is eight bytes, and as cheap as the number that it
/// holds: all that is called often is inlinable.
public protocol TypedNumber: Hashable, Sendable, BitwiseCopyable, CustomStringConvertible, Codable {
  /// The number itself, for C, for files and for statistics.
  var rawValue: UInt64 { get set }

  /// The value with this number.
  init(_ rawValue: UInt64)
}

extension TypedNumber {
  /// The value with the number 0.
  @inlinable
  public static var zero: Self { Self(0) }

  /// Whether the numbers are equal.
  @inlinable
  public static func == (left: Self, right: Self) -> Bool { left.rawValue == right.rawValue }

  /// Hashes the number.
  @inlinable
  public func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  /// `0x1a30`.
  public var description: String { "0x" + String(rawValue, radix: 16) }
}

/// For types whose numbers have an order that means something.
extension TypedNumber where Self: Comparable {
  /// The value with the highest number.
  @inlinable
  public static var max: Self { Self(.max) }

  /// Whether `left` has the lower number.
  @inlinable
  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// In a file they are plain numbers.
extension TypedNumber {
  /// Reads the number.
  public init(from decoder: any Decoder) throws {
    self.init(try decoder.singleValueContainer().decode(UInt64.self))
  }

  /// Writes the number.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(rawValue)
  }
}
