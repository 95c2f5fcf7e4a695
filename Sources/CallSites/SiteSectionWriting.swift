// SPDX-License-Identifier: Apache-2.0

import ELFImage
import Glibc

extension SiteTable {
  /// Writes the table into its file as the section `.nopscope.sites`, and the result to `output`
  /// (nil: the file itself).
  ///
  /// The file must have a build-id, which the table is bound to.
  ///
  /// The result replaces `output` by rename(2): whatever fails, `output` is whole.
  public func record(to output: String? = nil) throws(SiteError) {
    try replaceFile(output ?? path, with: recordedFile(), like: path)
  }

  /// The file's bytes with the table in it.
  package func recordedFile() throws(SiteError) -> [UInt8] {
    guard let buildID, (1...SiteSection.longestBuildID).contains(buildID.count) else {
      throw .noBuildID(path: path)
    }
    let contents = SiteSection.encode(self, buildID: buildID)
    return try SectionAppender(image).appending(contents)
  }
}

/// Adds a section to a linked file without moving a byte of it: the contents, a new table of
/// section names and a new section header table go behind the end, and the three fields of the ELF
/// header that say where (e_shoff, e_shnum, e_shstrndx) are rewritten.
///
/// Nothing else changes.
struct SectionAppender {
  let image: ELFImage
  static let name = ".nopscope.sites"

  init(_ image: ELFImage) { self.image = image }

  func appending(_ contents: [UInt8]) throws(SiteError) -> [UInt8] {
    var headers = try existingHeaders()
    var names = Array(image.bytes.storage[nameRange])
    if names.isEmpty { names = [0] }
    let nameTable: Int
    if headers.isEmpty {
      headers = [Header(), Header()]
      nameTable = 1
      headers[1].name = Self.add(".shstrtab", to: &names)
      headers[1].type = Section.Kind.strings
      headers[1].alignment = 1
    } else {
      nameTable = Int(image.header.nameTableIndex)
    }
    let own = ownIndex ?? headers.count
    if own == headers.count {
      var header = Header()
      header.name = Self.add(Self.name, to: &names)
      headers.append(header)
    }
    guard headers.count < 0xff00 else {
      throw .tooManySections(path: image.path, count: UInt64(headers.count))
    }
    headers[own].type = 1  // SHT_PROGBITS
    headers[own].alignment = 8
    return assemble(contents, names, headers, own: own, nameTable: nameTable)
  }

  private func assemble(
    _ contents: [UInt8], _ names: [UInt8], _ headers: [Header], own: Int, nameTable: Int
  ) -> [UInt8] {
    var headers = headers
    var file = Array(image.bytes.storage[..<keptSize])
    Self.pad(&file)
    headers[own].offset = UInt64(file.count)
    headers[own].size = UInt64(contents.count)
    file += contents
    headers[nameTable].offset = UInt64(file.count)
    headers[nameTable].size = UInt64(names.count)
    file += names
    Self.pad(&file)
    let table = file.count
    for header in headers { header.append(to: &file) }
    Self.put(UInt64(table), at: ELFHeader.sectionTableOffsetField, in: &file)
    Self.put(UInt16(headers.count), at: ELFHeader.sectionCountField, in: &file)
    Self.put(UInt16(nameTable), at: ELFHeader.nameTableIndexField, in: &file)
    // e_shentsize, which a file without sections may leave 0.
    Self.put(UInt16(ELFHeader.sectionHeaderSize), at: 0x3a, in: &file)
    return file
  }

  /// The file without what an earlier run appended, if there is nothing else at its end:
  /// recording twice gives the same bytes as once.
  private var keptSize: Int {
    let size = image.bytes.storage.count
    guard let own = ownIndex else { return size }
    let start = image.sections[own].fileOffset
    let nameTable = Int(image.header.nameTableIndex)
    guard image.header.sectionHeaderOffset >= start, image.sections[nameTable].fileOffset >= start
    else { return size }
    for (index, section) in image.sections.enumerated()
    where index != own && index != nameTable && section.isInFile && section.size > 0 {
      if section.fileOffset + section.size > start { return size }
    }
    for segment in image.segments where segment.fileOffset + segment.fileSize > start {
      return size
    }
    let programHeaders = UInt64(ELFHeader.programHeaderSize) * image.header.programHeaderCount
    if image.header.programHeaderOffset + programHeaders > start { return size }
    return start >= UInt64(ELFHeader.size) ? Int(start) : size
  }

  private var ownIndex: Int? {
    guard let own = image.sections(named: ".nopscope.sites").first else { return nil }
    return image.sections.firstIndex(of: own)
  }

  private var nameRange: Range<Int> {
    guard !image.sections.isEmpty, image.header.nameTableIndex < UInt64(image.sections.count)
    else { return 0..<0 }
    return image.fileRange(of: image.sections[Int(image.header.nameTableIndex)])
  }

  private func existingHeaders() throws(SiteError) -> [Header] {
    guard !image.sections.isEmpty else { return [] }
    guard !nameRange.isEmpty else {
      throw .image(
        .malformed(
          path: image.path, what: "e_shstrndx", offset: UInt64(ELFHeader.nameTableIndexField),
          expected: "a section with names", found: "\(image.header.nameTableIndex)"))
    }
    var headers: [Header] = []
    for index in image.sections.indices {
      let at = image.header.sectionHeaderOffset + UInt64(index * ELFHeader.sectionHeaderSize)
      do { headers.append(try Header(image.bytes, at: at)) } catch { throw .image(error) }
    }
    return headers
  }
}

extension SectionAppender {
  /// A section header as it is in the file: kept whole, the fields we do not know included.
  struct Header {
    var name: UInt32 = 0
    var type: UInt32 = 0
    var flags: UInt64 = 0
    var address: UInt64 = 0
    var offset: UInt64 = 0
    var size: UInt64 = 0
    var link: UInt32 = 0
    var info: UInt32 = 0
    var alignment: UInt64 = 0
    var entrySize: UInt64 = 0

    init() {}

    init(_ bytes: ELFBytes, at offset: UInt64) throws(ELFError) {
      let what = "a section header"
      name = try bytes.load(UInt32.self, at: offset, what)
      type = try bytes.load(UInt32.self, at: offset + 4, what)
      flags = try bytes.load(UInt64.self, at: offset + 8, what)
      address = try bytes.load(UInt64.self, at: offset + 16, what)
      self.offset = try bytes.load(UInt64.self, at: offset + 24, what)
      size = try bytes.load(UInt64.self, at: offset + 32, what)
      link = try bytes.load(UInt32.self, at: offset + 40, what)
      info = try bytes.load(UInt32.self, at: offset + 44, what)
      alignment = try bytes.load(UInt64.self, at: offset + 48, what)
      entrySize = try bytes.load(UInt64.self, at: offset + 56, what)
    }

    func append(to file: inout [UInt8]) {
      SiteSection.append(name, to: &file)
      SiteSection.append(type, to: &file)
      for value in [flags, address, offset, size] { SiteSection.append(value, to: &file) }
      SiteSection.append(link, to: &file)
      SiteSection.append(info, to: &file)
      SiteSection.append(alignment, to: &file)
      SiteSection.append(entrySize, to: &file)
    }
  }

  private static func add(_ name: String, to names: inout [UInt8]) -> UInt32 {
    let offset = UInt32(names.count)
    names += Array(name.utf8) + [0]
    return offset
  }

  private static func pad(_ file: inout [UInt8]) {
    while file.count % 8 != 0 { file.append(0) }
  }

  private static func put<T: FixedWidthInteger>(_ value: T, at offset: Int, in file: inout [UInt8])
  {
    for index in 0..<MemoryLayout<T>.size {
      file[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
    }
  }
}
