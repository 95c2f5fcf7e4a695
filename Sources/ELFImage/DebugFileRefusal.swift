// SPDX-License-Identifier: Apache-2.0

import TextFormat

/// Why a file of debug symbols is not used: one line each.
public enum DebugFileRefusal: Error, Equatable, Sendable {
  /// It cannot be read, or is no ELF file of symbols.
  case unusable(ELFError)
  /// Its bytes are not those that .gnu_debuglink means.
  case otherChecksum(path: String, expected: UInt32, found: UInt32)
  /// It belongs to another build.
  case otherBuild(path: String, expected: [UInt8], found: [UInt8]?)
  /// It has no symbols itself.
  case noSymbols(path: String)
  /// Its checksum is not computed: that would take too long.
  case tooLargeToCheck(path: String, size: UInt64, limit: UInt64)
  /// .gnu_debugdata of this file is no xz stream.
  case damagedData(path: String)
  /// .gnu_debugdata of this file needs more memory than `limit` bytes.
  case largeData(path: String, limit: Int)
  /// There was no memory to decompress it.
  case outOfMemory(path: String)
  /// The library that decompresses it is not installed.
  case noDecoder(path: String, library: String)
}

extension DebugFileRefusal {
  /// Whether the same files can be usable another time: what is missing is not in them.
  public var isPassing: Bool {
    switch self {
    case .noDecoder, .outOfMemory: true
    case .unusable(.unreadable): true
    default: false
    }
  }
}

extension DebugFileRefusal: CustomStringConvertible {
  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .unusable(let error): "no names from it: \(error)"
    case .otherChecksum(let path, let expected, let found):
      "no names from \(path): it is not the file that .gnu_debuglink means: expected CRC-32 "
        + "\(hexAddress(expected)), found \(hexAddress(found))"
    case .otherBuild(let path, let expected, let found):
      "no names from \(path): it belongs to another build: expected build-id "
        + "\(hexDigits(expected)), found \(found.map { hexDigits($0) } ?? "none")"
    case .noSymbols(let path): "no names from \(path): it has no symbol table"
    case .tooLargeToCheck(let path, let size, let limit):
      "no names from \(path): \(size) bytes, and the CRC-32 of at most \(limit) is computed: put it "
        + "into /usr/lib/debug/.build-id"
    case .damagedData(let path): "no names from .gnu_debugdata of \(path): it is no whole xz stream"
    case .largeData(let path, let limit):
      "no names from .gnu_debugdata of \(path): it needs more than \(limit) bytes of memory"
    case .outOfMemory(let path):
      "no names from .gnu_debugdata of \(path): no memory is left to decompress it"
    case .noDecoder(let path, let library):
      "no names from .gnu_debugdata of \(path): \(library) is missing: install liblzma5 (xz-libs)"
    }
  }
}
