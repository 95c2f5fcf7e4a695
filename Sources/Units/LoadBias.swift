// SPDX-License-Identifier: Apache-2.0

/// How far a module's run-time addresses are from its link-time addresses: `l_addr`, what
/// dl_iterate_phdr calls `dlpi_addr`. 0 for a program that runs where it was linked.
///
/// A distance modulo 2^64: a module may be loaded below the addresses that it was linked for. So
/// adding it and taking it away never traps, and an order of biases means nothing. `zero` is the bias
/// of a module whose link-time addresses are its run-time addresses.
@frozen
public struct LoadBias: TypedNumber {
  /// The distance, modulo 2^64.
  public var rawValue: UInt64

  /// The value with this number.
  @inlinable
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// Where `offset` of a module loaded with this bias is in the process.
  @inlinable
  public static func + (bias: Self, offset: ModuleOffset) -> CodeAddress {
    CodeAddress(bias.rawValue &+ offset.rawValue)
  }
}

extension Address where Space == ProcessSpace {
  /// What an address of a module loaded with `bias` is called in its file.
  @inlinable
  public static func - (address: Self, bias: LoadBias) -> ModuleOffset {
    ModuleOffset(address.rawValue &- bias.rawValue)
  }
}
