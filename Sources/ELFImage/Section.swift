// SPDX-License-Identifier: Apache-2.0

public import Units

/// One section header.
public struct Section: Equatable, Sendable {
  /// Types of sections that are read here.
  public enum Kind {
    /// SHT_SYMTAB.
    public static let symbols: UInt32 = 2
    /// SHT_STRTAB.
    public static let strings: UInt32 = 3
    /// SHT_RELA.
    public static let relocations: UInt32 = 4
    /// SHT_NOTE.
    public static let note: UInt32 = 7
    /// SHT_NOBITS.
    public static let empty: UInt32 = 8
    /// SHT_DYNSYM.
    public static let dynamicSymbols: UInt32 = 11
  }

  /// Offset of its name in the section of names.
  public var nameOffset: UInt32
  /// SHT_*.
  public var type: UInt32
  /// SHF_*.
  public var flags: UInt64
  /// Link-time address; 0 where it is not mapped.
  public var address: ModuleOffset
  /// Where its bytes are in the file.
  public var fileOffset: UInt64
  /// In bytes.
  public var size: UInt64
  /// sh_link: the section that belongs to it, as a symbol table's names.
  public var link: UInt32
  /// sh_info: what it is depends on the type.
  public var info: UInt32
  /// Bytes of one entry; 0 where it has no entries of one size.
  public var entrySize: UInt64

  /// Whether the file holds `size` bytes for it.
  public var isInFile: Bool { type != Kind.empty && type != 0 }
}

extension Section {
  static func readAll(_ bytes: ELFBytes, _ header: ELFHeader) throws(ELFError) -> [Section] {
    let table = try ELFHeader.table(
      bytes, at: header.sectionHeaderOffset, count: header.sectionCount,
      entrySize: ELFHeader.sectionHeaderSize, "the section headers")
    var sections: [Section] = []
    sections.reserveCapacity(Int(header.sectionCount))
    for offset in stride(
      from: table.lowerBound, to: table.upperBound, by: ELFHeader.sectionHeaderSize)
    {
      let section = try Section(bytes, at: UInt64(offset))
      if section.isInFile {
        _ = try bytes.range(
          at: section.fileOffset, size: section.size, "the contents of section \(sections.count)")
      }
      sections.append(section)
    }
    return sections
  }

  private init(_ bytes: ELFBytes, at offset: UInt64) throws(ELFError) {
    let what = "a section header"
    nameOffset = try bytes.load(UInt32.self, at: offset, what)
    type = try bytes.load(UInt32.self, at: offset + 4, what)
    flags = try bytes.load(UInt64.self, at: offset + 8, what)
    address = ModuleOffset(try bytes.load(UInt64.self, at: offset + 16, what))
    fileOffset = try bytes.load(UInt64.self, at: offset + 24, what)
    size = try bytes.load(UInt64.self, at: offset + 32, what)
    link = try bytes.load(UInt32.self, at: offset + 40, what)
    info = try bytes.load(UInt32.self, at: offset + 44, what)
    entrySize = try bytes.load(UInt64.self, at: offset + 56, what)
  }

  /// The number of its entries of `size` bytes each.
  func entryCount(of size: UInt64, _ bytes: ELFBytes, _ what: String) throws(ELFError) -> UInt64 {
    guard entrySize == size else {
      throw bytes.malformed(
        what, at: fileOffset, expected: "entries of \(size) bytes",
        found: "\(entrySize) (sh_entsize)")
    }
    guard self.size % size == 0 else {
      throw bytes.malformed(
        what, at: fileOffset, expected: "whole entries of \(size) bytes",
        found: "\(self.size) bytes")
    }
    return self.size / size
  }
}
