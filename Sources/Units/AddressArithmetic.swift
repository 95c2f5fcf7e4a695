// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic that makes sense for addresses, and no more: two addresses are never added.
//
// As with Swift's integers, `+` and `-` trap where the result does not fit, and `&+` and `&-` wrap.
// A value that comes from a file may be anything: use the wrapping operators for it, or
// `adding(exactly:)`, or check it before.

extension Address {
  /// The address `distance` bytes higher; traps above the highest address.
  @inlinable
  public static func + (address: Self, distance: UInt64) -> Self {
    Self(address.rawValue + distance)
  }

  /// The address `distance` bytes lower; traps below 0.
  @inlinable
  public static func - (address: Self, distance: UInt64) -> Self {
    Self(address.rawValue - distance)
  }

  /// The address `distance` bytes higher, modulo 2^64.
  @inlinable
  public static func &+ (address: Self, distance: UInt64) -> Self {
    Self(address.rawValue &+ distance)
  }

  /// The address `distance` bytes lower, modulo 2^64.
  @inlinable
  public static func &- (address: Self, distance: UInt64) -> Self {
    Self(address.rawValue &- distance)
  }

  /// Moves the address `distance` bytes up; traps above the highest address.
  @inlinable
  public static func += (address: inout Self, distance: UInt64) { address = address + distance }

  /// Bytes from `start` to `end`; traps where `end` is lower.
  @inlinable
  public static func - (end: Self, start: Self) -> UInt64 { end.rawValue - start.rawValue }

  /// Bytes from `start` to `end`, modulo 2^64.
  @inlinable
  public static func &- (end: Self, start: Self) -> UInt64 { end.rawValue &- start.rawValue }

  /// The address `distance` bytes higher; nil where that is above the highest address.
  @inlinable
  public func adding(exactly distance: UInt64) -> Self? {
    let (sum, overflow) = rawValue.addingReportingOverflow(distance)
    return overflow ? nil : Self(sum)
  }

  /// What the last four bytes of an x86-64 instruction point to, when the instruction ends at this
  /// address: `displacement` bytes away, modulo 2^64 as the CPU computes it.
  @inlinable
  public func displaced(by displacement: Int32) -> Self {
    Self(rawValue &+ UInt64(bitPattern: Int64(displacement)))
  }

  /// The start of the block that the address lies in; `size` is a power of two, a page's as a rule.
  @inlinable
  public func rounded(downTo size: UInt64) -> Self { Self(rawValue & ~(size - 1)) }

  /// The start of the first block at or above the address; `size` is a power of two. Wraps to 0
  /// above the last block.
  @inlinable
  public func rounded(upTo size: UInt64) -> Self { Self((rawValue &+ (size - 1)) & ~(size - 1)) }
}

extension Range<CodeAddress> {
  /// Bytes from its lower bound to its upper one.
  @inlinable
  public var byteCount: UInt64 { upperBound - lowerBound }
}

extension Range<ModuleOffset> {
  /// Bytes from its lower bound to its upper one.
  @inlinable
  public var byteCount: UInt64 { upperBound - lowerBound }
}
