// SPDX-License-Identifier: Apache-2.0

public import Units

/// A change of text that is known: an entry of the journal.
public struct KnownChange: Equatable, Sendable {
  /// Of the first byte, in the audited process.
  public var address: CodeAddress
  /// What the file has there.
  public var original: [UInt8]
  /// What the journal says the text has now; as many bytes.
  public var current: [UInt8]

  /// The bytes `original` of the file at `address` were replaced by `current`, which are as many.
  public init(address: CodeAddress, original: [UInt8], current: [UInt8]) {
    precondition(original.count == current.count, "a change replaces bytes one for one")
    self.address = address
    self.original = original
    self.current = current
  }
}
