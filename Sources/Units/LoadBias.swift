// SPDX-License-Identifier: Apache-2.0

/// How far a module's run-time addresses are from its link-time addresses: `l_addr`, what
/// dl_iterate_phdr calls `dlpi_addr`. 0 for a program that runs where it was linked.
///
/// A distance modulo 2^64: a module may be loaded below the addresses that it was linked for. So
/// adding it and taking it away never traps.
@frozen
public struct LoadBias: Hashable, Sendable, BitwiseCopyable {
  /// The distance, modulo 2^64.
  public var rawValue: UInt64

  /// The value with this number.
  @inlinable
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// Of a module whose link-time addresses are its run-time addresses.
  @inlinable
  public static var zero: Self { Self(0) }

  /// Where `offset` of a module loaded with this bias is in the process.
  @inlinable
  public static func + (bias: Self, offset: ModuleOffset) -> CodeAddress {
    CodeAddress(bias.rawValue &+ offset.rawValue)
  }

  /// Whether the numbers are equal.
  @inlinable
  public static func == (left: Self, right: Self) -> Bool { left.rawValue == right.rawValue }

  /// Hashes the number.
  @inlinable
  public func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }
}

extension Address where Space == ProcessSpace {
  /// What an address of a module loaded with `bias` is called in its file.
  @inlinable
  public static func - (address: Self, bias: LoadBias) -> ModuleOffset {
    ModuleOffset(address.rawValue &- bias.rawValue)
  }
}

extension LoadBias: CustomStringConvertible {
  /// `0x7f0012340000`.
  public var description: String { "0x" + String(rawValue, radix: 16) }
}

/// In a file a load bias is a plain number.
extension LoadBias: Codable {
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
