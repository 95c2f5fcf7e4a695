// SPDX-License-Identifier: Apache-2.0

/// A time by a recording's clock, or the length of one: a number of units, each of 2^shift ticks of
/// the TSC (docs/format.md). It is not in nanoseconds: only what knows the TSC's rate leads there.
///
/// Of points in time only differences and the order mean something: the clock began at some start
/// of the machine. The order is from early to late, from short to long. `zero` is no time; as a point
/// in time it means "not known" in a file's header.
@frozen
public struct ClockUnits: TypedNumber, Comparable {
  /// The number itself, for C, for files and for statistics.
  public var rawValue: UInt64

  /// So many units.
  @inlinable
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// `1234 units`.
  public var description: String { rawValue == 1 ? "1 unit" : "\(rawValue) units" }
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
