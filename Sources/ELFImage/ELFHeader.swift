// SPDX-License-Identifier: Apache-2.0

/// The ELF header: what the file is, and where its two tables are.
public struct ELFHeader: Equatable, Sendable {
  /// What the file is (e_type).
  public enum FileType: UInt16, Sendable {
    case object = 1
    case executable = 2
    case sharedObject = 3
  }

  /// Where e_shoff, e_shnum and e_shstrndx are in the file: what a tool that adds a section
  /// has to rewrite.
  public static let sectionTableOffsetField = 0x28
  /// Where e_shnum is.
  public static let sectionCountField = 0x3c
  /// Where e_shstrndx is.
  public static let nameTableIndexField = 0x3e
  /// Bytes of the header itself, of a program header and of a section header.
  public static let size = 64
  /// Bytes of a program header.
  public static let programHeaderSize = 56
  /// Bytes of a section header.
  public static let sectionHeaderSize = 64

  /// What the file is.
  public var fileType: FileType
  /// File offset of the program headers, their number (the extended one resolved).
  public var programHeaderOffset: UInt64
  /// Number of program headers, the extended one resolved.
  public var programHeaderCount: UInt64
  /// The same of the section headers; 0 and 0 where the file has none.
  public var sectionHeaderOffset: UInt64
  /// Number of section headers; 0 where the file has none.
  public var sectionCount: UInt64
  /// Index of the section that holds the sections' names; 0: none.
  public var nameTableIndex: UInt64
}

extension ELFHeader {
  init(_ bytes: ELFBytes) throws(ELFError) {
    try Self.checkIdentity(bytes)
    let type = try bytes.load(UInt16.self, at: 0x10, "the ELF header")
    guard let fileType = FileType(rawValue: type) else {
      throw .otherType(path: bytes.path, type: type)
    }
    _ = try bytes.range(at: 0, size: UInt64(Self.size), "the ELF header")
    self.fileType = fileType
    programHeaderOffset = try bytes.load(UInt64.self, at: 0x20, "e_phoff")
    programHeaderCount = UInt64(try bytes.load(UInt16.self, at: 0x38, "e_phnum"))
    sectionHeaderOffset = try bytes.load(UInt64.self, at: 0x28, "e_shoff")
    sectionCount = UInt64(try bytes.load(UInt16.self, at: 0x3c, "e_shnum"))
    nameTableIndex = UInt64(try bytes.load(UInt16.self, at: 0x3e, "e_shstrndx"))
    try resolveExtendedNumbers(bytes)
    try checkEntrySizes(bytes)
  }

  private static func checkIdentity(_ bytes: ELFBytes) throws(ELFError) {
    guard bytes.storage.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else {
      throw .notELF(path: bytes.path, found: Array(bytes.storage.prefix(4)))
    }
    let elfClass = try bytes.load(UInt8.self, at: 4, "the ELF header")
    guard elfClass == 2 else { throw .not64Bit(path: bytes.path, class: elfClass) }
    let encoding = try bytes.load(UInt8.self, at: 5, "the ELF header")
    guard encoding == 1 else { throw .notLittleEndian(path: bytes.path, encoding: encoding) }
    let version = try bytes.load(UInt8.self, at: 6, "the ELF header")
    guard version == 1 else {
      throw bytes.malformed("the ELF version", at: 6, expected: "1", found: "\(version)")
    }
    let machine = try bytes.load(UInt16.self, at: 0x12, "the ELF header")
    guard machine == 62 else { throw .otherMachine(path: bytes.path, machine: machine) }
  }

  /// Numbers that do not fit 16 bits are in section header 0 (gABI, "ELF Header").
  private mutating func resolveExtendedNumbers(_ bytes: ELFBytes) throws(ELFError) {
    guard sectionHeaderOffset != 0 else {
      sectionCount = 0
      nameTableIndex = 0
      return
    }
    _ = try bytes.range(at: sectionHeaderOffset, size: 64, "the first section header")
    if sectionCount == 0 {
      sectionCount = try bytes.load(UInt64.self, at: sectionHeaderOffset + 32, "sh_size")
    }
    if nameTableIndex == 0xffff {
      nameTableIndex = UInt64(
        try bytes.load(UInt32.self, at: sectionHeaderOffset + 40, "sh_link"))
    }
    if programHeaderCount == 0xffff {
      programHeaderCount = UInt64(
        try bytes.load(UInt32.self, at: sectionHeaderOffset + 44, "sh_info"))
    }
  }

  private func checkEntrySizes(_ bytes: ELFBytes) throws(ELFError) {
    if programHeaderCount > 0 {
      let size = try bytes.load(UInt16.self, at: 0x36, "e_phentsize")
      guard size == Self.programHeaderSize else {
        throw bytes.malformed("e_phentsize", at: 0x36, expected: "56", found: "\(size)")
      }
    }
    if sectionCount > 0 {
      let size = try bytes.load(UInt16.self, at: 0x3a, "e_shentsize")
      guard size == Self.sectionHeaderSize else {
        throw bytes.malformed("e_shentsize", at: 0x3a, expected: "64", found: "\(size)")
      }
    }
  }

  /// The file offsets of a table's `count` entries of `entrySize` bytes, in the file.
  static func table(
    _ bytes: ELFBytes, at offset: UInt64, count: UInt64, entrySize: Int, _ what: String
  ) throws(ELFError) -> Range<Int> {
    let (size, overflow) = count.multipliedReportingOverflow(by: UInt64(entrySize))
    guard !overflow else { throw bytes.truncated(what, offset, .max) }
    return try bytes.range(at: offset, size: size, what)
  }
}
