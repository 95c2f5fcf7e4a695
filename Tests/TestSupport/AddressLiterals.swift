// SPDX-License-Identifier: Apache-2.0

public import Units

/// In tests an address may be written as a number. The product has to say what the number is.
extension Address: ExpressibleByIntegerLiteral {
  /// The value with this number.
  public init(integerLiteral value: UInt64) { self.init(value) }
}

extension LoadBias: ExpressibleByIntegerLiteral {
  /// The value with this number.
  public init(integerLiteral value: UInt64) { self.init(value) }
}
