// SPDX-License-Identifier: Apache-2.0

/// What .gnu_debuglink says: the name of a file of debug symbols, and the CRC-32 of its bytes.
public struct DebugLink: Equatable, Sendable {
  /// A file name without any folder.
  public var name: String
  /// Of the whole debug file.
  public var checksum: UInt32
}

extension ELFImage {
  /// The contents of .gnu_debuglink; nil where there is none, or where it names no file.
  ///
  /// A name, its NUL, zeros up to a multiple of 4, the checksum. A name with a folder or a
  /// control character in it, or one that is longer than a file name can be, is none: no tool writes it.
  public func debugLink() -> DebugLink? {
    guard let section = sections(named: ".gnu_debuglink").first(where: \.isInFile),
      let text = try? bytes.string(
        at: section.fileOffset, before: section.fileOffset + min(section.size, 256), "a name"),
      !text.isEmpty, !text.contains(where: { $0 < 0x20 || $0 == UInt8(ascii: "/") })
    else { return nil }
    let field = (UInt64(text.count) + 4) & ~3
    guard section.size >= field + 4,
      let checksum = try? bytes.load(UInt32.self, at: section.fileOffset + field, "a checksum")
    else { return nil }
    let name = String(decoding: text, as: UTF8.self)
    return name == "." || name == ".." ? nil : DebugLink(name: name, checksum: checksum)
  }

  /// The compressed ELF file in .gnu_debugdata, as file offsets; nil where there is none.
  var embeddedSymbols: Range<Int>? {
    sections(named: ".gnu_debugdata").first(where: \.isInFile).map(fileRange)
  }
}
