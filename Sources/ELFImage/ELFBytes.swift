// SPDX-License-Identifier: Apache-2.0

import TextFormat

/// The bytes of a file, and the only place that loads numbers from them.
///
/// Why the one unsafe load is safe: `offset + size of T` is checked against the count without
/// overflow just before it, and every T is an integer, valid for any bits.
public struct ELFBytes: Sendable {
  /// The file, for errors.
  public let path: String
  /// The bytes of the whole file.
  public let storage: [UInt8]

  /// `storage` as the contents of the file `path`.
  public init(path: String, storage: [UInt8]) {
    self.path = path
    self.storage = storage
  }

  /// The file's length in bytes.
  public var count: UInt64 { UInt64(storage.count) }

  /// The little-endian number at file offset `offset`; `what` names it in the error.
  public func load<T: FixedWidthInteger & BitwiseCopyable>(
    _ type: T.Type, at offset: UInt64, _ what: @autoclosure () -> String
  ) throws(ELFError) -> T {
    let size = UInt64(MemoryLayout<T>.size)
    guard offset <= count, count - offset >= size else {
      throw truncated(what(), offset, size)
    }
    let raw = storage.span.bytes
    return T(littleEndian: raw.unsafeLoadUnaligned(fromByteOffset: Int(offset), as: T.self))
  }

  /// The file offsets `offset ..< offset + size`, checked to lie in the file.
  public func range(
    at offset: UInt64, size: UInt64, _ what: @autoclosure () -> String
  ) throws(ELFError) -> Range<Int> {
    guard offset <= count, count - offset >= size else { throw truncated(what(), offset, size) }
    return Int(offset)..<Int(offset + size)
  }

  /// The bytes of a C string at `offset` that must end before `end`, without its NUL.
  public func string(
    at offset: UInt64, before end: UInt64, _ what: @autoclosure () -> String
  ) throws(ELFError) -> ArraySlice<UInt8> {
    let limit = min(end, count)
    guard offset < limit else { throw truncated(what(), offset, 1) }
    let rest = storage[Int(offset)..<Int(limit)]
    guard let terminator = rest.firstIndex(of: 0) else {
      throw .malformed(
        path: path, what: what(), offset: offset, expected: "a string that ends with NUL",
        found: "none before \(hexAddress(limit))")
    }
    return rest[..<terminator]
  }

  /// Whether the C string at `offset` is `text`.
  ///
  /// Looks at no more than its length: comparing is cheap even where a hostile string table is one
  /// long string.
  func equals(_ text: StaticString, at offset: UInt64, before end: UInt64) -> Bool {
    let size = UInt64(text.utf8CodeUnitCount) + 1
    let limit = min(end, count)
    guard offset < limit, limit - offset >= size else { return false }
    var index = Int(offset)
    return text.withUTF8Buffer { expected in
      for byte in expected {
        if storage[index] != byte { return false }
        index += 1
      }
      return storage[index] == 0
    }
  }

  func truncated(_ what: String, _ offset: UInt64, _ size: UInt64) -> ELFError {
    let found = offset <= count ? count - offset : 0
    return .truncated(path: path, what: what, offset: offset, expected: size, found: found)
  }

  func malformed(
    _ what: String, at offset: UInt64, expected: String, found: String
  ) -> ELFError {
    .malformed(path: path, what: what, offset: offset, expected: expected, found: found)
  }
}
