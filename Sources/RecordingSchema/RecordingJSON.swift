// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import JSONText

/// The one way from a type of this module to its text and back.
public enum RecordingJSON {
  /// One line without its newline.
  ///
  /// Keys are sorted: the same contents are the same bytes.
  public static func encode(_ value: some Encodable) throws -> [UInt8] {
    try jsonBytes(value)
  }

  /// Nil where `bytes` are no JSON, or of another type.
  public static func decode<Value: Decodable>(
    _ type: Value.Type, from bytes: some Sequence<UInt8>
  ) -> Value? {
    try? JSONDecoder().decode(type, from: Data(bytes))
  }
}

extension KeyedEncodingContainer {
  /// Leaves the key out where `value` is nil: our encoder writes a null for `encodeIfPresent`.
  mutating func encodeIfKnown(_ value: (some Encodable)?, forKey key: Key) throws {
    if let value { try encode(value, forKey: key) }
  }
}

extension KeyedDecodingContainer {
  /// A count or a time: 0 where it is missing or negative.
  func unsigned(_ key: Key) throws -> UInt64 {
    if let number = try? decodeIfPresent(UInt64.self, forKey: key) { return number }
    return UInt64(clamping: try decodeIfPresent(Int64.self, forKey: key) ?? 0)
  }

  /// An address: 0 where it is missing. Its upper half may be written as negative numbers.
  func address(_ key: Key) throws -> UInt64 {
    if let number = try? decodeIfPresent(UInt64.self, forKey: key) { return number }
    return UInt64(bitPattern: try decodeIfPresent(Int64.self, forKey: key) ?? 0)
  }
}
