// SPDX-License-Identifier: Apache-2.0

import CRecorder
import ELFImage
import Glibc
import TextFormat

/// What a file's string tables tell without reading the file: whether it can have call sites at all,
/// and whether it loads AddressSanitizer. Most libraries of a process name neither mcount nor
/// __fentry__ and list no patchable entries, and reading them whole would take longer than the
/// program.
struct QuickLook: ~Copyable {
  private let file: Descriptor
  private let size: Int

  /// Nil where the file cannot be opened, is no regular file, or is one that the ELF reader refuses
  /// for its size.
  init?(path: String) {
    file = Descriptor(path.withSystemText { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) })
    var status = stat()
    guard file.number >= 0, fstat(file.number, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
      ELFImage.reads(size: Int(status.st_size), blocks: Int(status.st_blocks))
    else { return nil }
    size = Int(status.st_size)
  }

  /// Names that a file with call sites has in one of its string tables.
  ///
  /// The first ends `_mcount` too.
  private static let symbols = ["mcount\0", "__fentry__\0"].map { Array($0.utf8) }
  private static let sections = [
    "__mcount_loc\0", "__patchable_function_entries\0", ".nopscope.sites\0",
  ].map { Array($0.utf8) }
  private static let stringTable: UInt32 = 3
  /// SHF_ALLOC.
  private static let loaded: UInt64 = 2
  private static let mostSections = 4096

  /// AddressSanitizer's shared runtimes, of gcc and of clang, among the libraries that a file needs.
  private static let sanitizers = ["libasan.so", "libclang_rt.asan"].map { Array($0.utf8) }

  /// Whether the file can have call sites.
  ///
  /// Yes where its tables are not understood: then the ELF reader decides. So it does where a file is
  /// longer than it reads.
  consuming func mayHaveSites() -> Bool { mentions(Self.symbols + Self.sections) ?? true }

  /// Whether the loader would load AddressSanitizer with the file.
  consuming func loadsAddressSanitizer() -> Bool {
    mentions(Self.sanitizers, onlyLoaded: true) ?? false
  }

  /// Whether one of the names is in one of the string tables, or in one that the loader maps; nil
  /// where the tables are not understood.
  private borrowing func mentions(_ names: [[UInt8]], onlyLoaded: Bool = false) -> Bool? {
    guard let header = file.read(at: 0, count: 64),
      header.prefix(6).elementsEqual([0x7f, 0x45, 0x4c, 0x46, 2, 1])
    else { return nil }
    var fields = ByteReader(Array(header[0x28...]))
    guard let tableOffset = fields.number(UInt64.self), fields.take(10) != nil,
      fields.number(UInt16.self) == 64, let count = fields.number(UInt16.self),
      count > 0, Int(count) <= Self.mostSections, tableOffset < UInt64(size),
      let table = file.read(at: Int(tableOffset), count: 64 * Int(count))
    else { return nil }
    var hasStrings = false
    for index in 0..<Int(count) {
      var section = ByteReader(Array(table[(64 * index)..<(64 * index + 64)]))
      guard section.take(4) != nil, let type = section.number(UInt32.self) else { return nil }
      guard type == Self.stringTable else { continue }
      guard let flags = section.number(UInt64.self), section.take(8) != nil,
        let offset = section.number(UInt64.self), let length = section.number(UInt64.self),
        length <= UInt64(size), offset <= UInt64(size) - length
      else { return nil }
      hasStrings = true
      if onlyLoaded, flags & Self.loaded == 0 { continue }
      if mentions(names, Int(offset), Int(length)) { return true }
    }
    return hasStrings ? false : nil
  }

  /// Whether one of the names is in `length` bytes at `offset`; yes where they cannot be read.
  private borrowing func mentions(_ names: [[UInt8]], _ offset: Int, _ length: Int) -> Bool {
    let overlap = 32
    let piece = 1 << 20
    var start = 0
    while start < length {
      let count = min(piece + overlap, length - start)
      guard let bytes = file.read(at: offset + start, count: count) else { return true }
      for name in names where contains(bytes, name) { return true }
      start += piece
    }
    return false
  }

  private borrowing func contains(_ bytes: [UInt8], _ name: [UInt8]) -> Bool {
    bytes.withUnsafeBytes { bytes in
      name.withUnsafeBytes { name in
        guard let start = bytes.baseAddress, let wanted = name.baseAddress else { return false }
        return nrc_contains(start, bytes.count, wanted, name.count)
      }
    }
  }
}
