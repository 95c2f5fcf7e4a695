// SPDX-License-Identifier: Apache-2.0
//
// The encoder behind `jsonBytes`. Foundation's own leaves a missing value out, since the code that
// the compiler writes for an Encodable type calls `encodeIfPresent`; this one writes a null there.
//
// Every value comes to `JSONSingleValue` by its own `encode(to:)`. Nothing is asked for its type: to
// learn whether a type conforms to a protocol, the runtime searches all conformances of the
// executable, and the start of a recording waits. Nobody asks where a value stands, so no path is
// kept.

/// Encodes one value into a node.
struct JSONNodeEncoder: Encoder {
  let node: JSONNode
  var codingPath: [any CodingKey] { [] }
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    node.becomeObject()
    return KeyedEncodingContainer(JSONMembers(node: node))
  }

  func unkeyedContainer() -> any UnkeyedEncodingContainer {
    node.becomeArray()
    return JSONElements(node: node)
  }

  func singleValueContainer() -> any SingleValueEncodingContainer {
    JSONSingleValue(node: node)
  }
}

private struct JSONMembers<Key: CodingKey>: KeyedEncodingContainerProtocol {
  let node: JSONNode
  var codingPath: [any CodingKey] { [] }

  func encodeNil(forKey key: Key) { node.member(key.stringValue).become(word: "null") }

  func encode<Value: Encodable>(_ value: Value, forKey key: Key) throws {
    try value.encode(to: encoder(of: key))
  }

  func encodeIfPresent<Value: Encodable>(_ value: Value?, forKey key: Key) throws {
    try orNull(value, key)
  }

  // The protocol's own versions for these types, which leave a nil out, would be taken otherwise.
  func encodeIfPresent(_ value: Bool?, forKey key: Key) throws { try orNull(value, key) }
  func encodeIfPresent(_ value: String?, forKey key: Key) throws { try orNull(value, key) }
  func encodeIfPresent(_ value: Double?, forKey key: Key) throws { try orNull(value, key) }
  func encodeIfPresent(_ value: Float?, forKey key: Key) throws { try orNull(value, key) }
  func encodeIfPresent(_ value: Int?, forKey key: Key) throws { try orNull(value, key) }
  func encodeIfPresent(_ value: Int8?, forKey key: Key) throws { try orNull(value, key) }
  func encodeIfPresent(_ value: Int16?, forKey key: Key) throws { try orNull(value, key) }
  func encodeIfPresent(_ value: Int32?, forKey key: Key) throws { try orNull(value, key) }
  func encodeIfPresent(_ value: Int64?, forKey key: Key) throws { try orNull(value, key) }
  func encodeIfPresent(_ value: UInt?, forKey key: Key) throws { try orNull(value, key) }
  func encodeIfPresent(_ value: UInt8?, forKey key: Key) throws { try orNull(value, key) }
  func encodeIfPresent(_ value: UInt16?, forKey key: Key) throws { try orNull(value, key) }
  func encodeIfPresent(_ value: UInt32?, forKey key: Key) throws { try orNull(value, key) }
  func encodeIfPresent(_ value: UInt64?, forKey key: Key) throws { try orNull(value, key) }

  private func orNull<Value: Encodable>(_ value: Value?, _ key: Key) throws {
    guard let value else { return encodeNil(forKey: key) }
    try encode(value, forKey: key)
  }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) -> KeyedEncodingContainer<Nested> {
    encoder(of: key).container(keyedBy: type)
  }

  func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
    encoder(of: key).unkeyedContainer()
  }

  func superEncoder() -> any Encoder {
    JSONNodeEncoder(node: node.member("super"))
  }

  func superEncoder(forKey key: Key) -> any Encoder { encoder(of: key) }

  private func encoder(of key: Key) -> JSONNodeEncoder {
    JSONNodeEncoder(node: node.member(key.stringValue))
  }
}

private struct JSONElements: UnkeyedEncodingContainer {
  let node: JSONNode
  var codingPath: [any CodingKey] { [] }
  var count: Int { node.count }

  func encodeNil() { _ = node.append() }

  func encode<Value: Encodable>(_ value: Value) throws {
    try value.encode(to: encoder())
  }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type
  ) -> KeyedEncodingContainer<Nested> {
    encoder().container(keyedBy: type)
  }

  func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { encoder().unkeyedContainer() }

  func superEncoder() -> any Encoder { encoder() }

  private func encoder() -> JSONNodeEncoder {
    JSONNodeEncoder(node: node.append())
  }
}

private struct JSONSingleValue: SingleValueEncodingContainer {
  let node: JSONNode
  var codingPath: [any CodingKey] { [] }

  func encodeNil() { node.become(word: "null") }

  func encode<Value: Encodable>(_ value: Value) throws {
    try value.encode(to: JSONNodeEncoder(node: node))
  }

  func encode(_ value: String) { node.become(string: value) }
  func encode(_ value: Bool) { node.become(word: value ? "true" : "false") }
  func encode(_ value: Int) { node.become(word: value.description) }
  func encode(_ value: Int8) { node.become(word: value.description) }
  func encode(_ value: Int16) { node.become(word: value.description) }
  func encode(_ value: Int32) { node.become(word: value.description) }
  func encode(_ value: Int64) { node.become(word: value.description) }
  func encode(_ value: UInt) { node.become(word: value.description) }
  func encode(_ value: UInt8) { node.become(word: value.description) }
  func encode(_ value: UInt16) { node.become(word: value.description) }
  func encode(_ value: UInt32) { node.become(word: value.description) }
  func encode(_ value: UInt64) { node.become(word: value.description) }
  func encode(_ value: Float) throws { try encode(Double(value)) }

  /// `5` for 5.0. JSON has no infinity, and no "not a number".
  func encode(_ value: Double) throws {
    guard value.isFinite else {
      throw EncodingError.invalidValue(
        value, .init(codingPath: codingPath, debugDescription: "\(value) is no number of JSON"))
    }
    let text = value.description
    node.become(word: text.hasSuffix(".0") ? String(text.dropLast(2)) : text)
  }
}
