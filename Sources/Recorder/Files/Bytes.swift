// SPDX-License-Identifier: Apache-2.0

import Glibc
import TextFormat

/// Appends little-endian numbers.
struct ByteWriter {
  private(set) var bytes: [UInt8] = []

  mutating func append<T: FixedWidthInteger>(_ value: T) {
    withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
  }

  mutating func append(_ more: [UInt8]) { bytes += more }

  mutating func pad(to multiple: Int) {
    while bytes.count % multiple != 0 { bytes.append(0) }
  }
}

/// Reads little-endian numbers, each checked to lie in the bytes; nil after the end.
struct ByteReader {
  let bytes: [UInt8]
  private(set) var offset = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var remaining: Int { bytes.count - offset }

  mutating func number<T: FixedWidthInteger>(_ type: T.Type) -> T? {
    guard let slice = take(MemoryLayout<T>.size) else { return nil }
    var value: T = 0
    for byte in slice.reversed() { value = value << 8 | T(truncatingIfNeeded: byte) }
    return value
  }

  mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
    guard count >= 0, count <= remaining else { return nil }
    defer { offset += count }
    return bytes[offset..<(offset + count)]
  }
}

/// FNV-1a: detects damage and names files; it does not resist an attacker.
func fnv1a(_ bytes: some Sequence<UInt8>) -> UInt64 {
  var hash: UInt64 = 0xcbf2_9ce4_8422_2325
  for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
  return hash
}

/// `Permission denied`.
func systemError(_ number: Int32) -> String { String(cString: strerror(number)) }

/// errno, read before anything can change it.
func errnoNow() -> Int32 { errno }

/// What a symbolic link names; empty where it cannot be read.
func linkTarget(_ path: String) -> String {
  var target = [CChar](repeating: 0, count: Int(PATH_MAX))
  let length = path.withSystemText { readlink($0, &target, target.count - 1) }
  return systemText(target.prefix(max(0, length)).map { UInt8(bitPattern: $0) })
}
