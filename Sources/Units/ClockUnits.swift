// SPDX-License-Identifier: Apache-2.0

/// A time by a recording's clock, or the length of one: a number of units, each of 2^shift ticks of
/// the TSC (docs/format.md). It is not in nanoseconds: only what knows the TSC's rate leads there.
///
/// Of points in time only differences and the order mean something: the clock began at some start
/// of the machine. Eight bytes, and as cheap as the number that it holds.
@frozen
public struct ClockUnits: Hashable, Sendable, BitwiseCopyable {
  /// The number itself, for C, for files and for statistics.
  public var rawValue: UInt64

  /// So many units.
  @inlinable
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// No time; as a point in time, "not known" in a file's header.
  @inlinable
  public static var zero: Self { Self(0) }

  /// The last point in time, the longest time.
  @inlinable
  public static var max: Self { Self(.max) }

  /// Whether the numbers are equal.
  @inlinable
  public static func == (left: Self, right: Self) -> Bool { left.rawValue == right.rawValue }

  /// Hashes the number.
  @inlinable
  public func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }
}

extension ClockUnits: Comparable {
  /// Whether `left` is the earlier, the shorter.
  @inlinable
  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

// MARK: - Arithmetic

// As with Swift's integers, `-` traps where the result does not fit, and `&+` and `&-` wrap. There
// is no `+`: times come from files, which may say anything, and a sum of them may not fit.
extension ClockUnits {
  /// The time from `start` to `end`; traps where `end` is earlier.
  @inlinable
  public static func - (end: Self, start: Self) -> Self { Self(end.rawValue - start.rawValue) }

  /// The time from `start` to `end`, modulo 2^64.
  @inlinable
  public static func &- (end: Self, start: Self) -> Self { Self(end.rawValue &- start.rawValue) }

  /// The sum, modulo 2^64.
  @inlinable
  public static func &+ (left: Self, right: Self) -> Self { Self(left.rawValue &+ right.rawValue) }

  /// Adds `more`, modulo 2^64.
  @inlinable
  public static func &+= (time: inout Self, more: Self) { time = time &+ more }
}

// MARK: - Text

extension ClockUnits: CustomStringConvertible {
  /// `1234 units`.
  public var description: String { rawValue == 1 ? "1 unit" : "\(rawValue) units" }
}

/// In a file a time is a plain number.
extension ClockUnits: Codable {
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
