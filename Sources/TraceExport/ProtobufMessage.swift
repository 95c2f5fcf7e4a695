// SPDX-License-Identifier: Apache-2.0

/// A protobuf message in the making: fields are appended in their wire format.
///
/// Source: protobuf.dev/programming-guides/encoding: a field is `number << 3 | wire type` as a
/// varint, then a varint (type 0), eight bytes (type 1), or a length and as many bytes (type 2).
struct ProtobufMessage {
  private(set) var bytes: [UInt8] = []

  mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

  mutating func add(_ field: UInt32, _ value: UInt64) {
    varint(UInt64(field) << 3)
    varint(value)
  }

  mutating func add(_ field: UInt32, double number: Double) {
    varint(UInt64(field) << 3 | 1)
    for shift in stride(from: 0, to: 64, by: 8) {
      bytes.append(UInt8(truncatingIfNeeded: number.bitPattern >> UInt64(shift)))
    }
  }

  mutating func add(_ field: UInt32, _ text: String) {
    varint(UInt64(field) << 3 | 2)
    varint(UInt64(text.utf8.count))
    bytes.append(contentsOf: text.utf8)
  }

  mutating func add(_ field: UInt32, _ message: ProtobufMessage) {
    varint(UInt64(field) << 3 | 2)
    varint(UInt64(message.bytes.count))
    bytes.append(contentsOf: message.bytes)
  }

  /// A message within this one.
  mutating func add(_ field: UInt32, _ fill: (inout ProtobufMessage) -> Void) {
    var inner = ProtobufMessage()
    fill(&inner)
    add(field, inner)
  }

  private mutating func varint(_ value: UInt64) {
    var rest = value
    while rest > 0x7f {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}

/// A varint into a buffer that has 10 bytes of room from `place`; the place behind it.
@inline(__always)
func putVarint(
  _ value: UInt64, _ bytes: UnsafeMutableBufferPointer<UInt8>, at place: Int
) -> Int {
  var place = place
  var rest = value
  while rest > 0x7f {
    bytes[place] = UInt8(truncatingIfNeeded: rest) | 0x80
    place += 1
    rest >>= 7
  }
  bytes[place] = UInt8(truncatingIfNeeded: rest)
  return place + 1
}
