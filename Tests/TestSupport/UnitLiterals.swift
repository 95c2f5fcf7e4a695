// SPDX-License-Identifier: Apache-2.0

public import Units

/// In tests an address or a time may be written as a number. The product has to say what the number is.
extension Address: ExpressibleByIntegerLiteral {
  /// The value with this number.
  public init(integerLiteral value: UInt64) { self.init(value) }
}

extension LoadBias: ExpressibleByIntegerLiteral {
  /// The value with this number.
  public init(integerLiteral value: UInt64) { self.init(value) }
}

extension ClockUnits: ExpressibleByIntegerLiteral {
  /// So many units.
  public init(integerLiteral value: UInt64) { self.init(value) }
}
