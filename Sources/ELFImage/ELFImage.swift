// SPDX-License-Identifier: Apache-2.0

import TextFormat
public import Units

/// An ELF file in memory: headers parsed and checked, everything else is read in place when it is
/// needed.
///
/// Whatever the file says, reading it throws an `ELFError` or ends: no crash, no endless loop, no
/// more memory than a small multiple of the file's size.
public struct ELFImage: Sendable {
  /// The whole file.
  public let bytes: ELFBytes
  /// What the file is, and where its tables are.
  public let header: ELFHeader
  /// All program headers, in the file's order.
  public let segments: [Segment]
  /// The loadable segments, by address, none overlapping.
  public let loadable: [Segment]
  /// All section headers; empty where the file has none.
  public let sections: [Section]
  /// Nil where the file is not dynamically linked.
  public let dynamic: DynamicSegment?
  /// Nil where the linker was not asked for one.
  public let buildID: [UInt8]?

  /// The file's path.
  public var path: String { bytes.path }

  /// Reads the file at `path`, at most 4 GiB.
  public init(path: String) throws(ELFError) {
    try self.init(bytes: ELFBytes(path: path, storage: try readFile(path)))
  }

  /// Reads an ELF file that is in memory already; its path serves the errors only.
  public init(bytes: ELFBytes) throws(ELFError) {
    self.bytes = bytes
    header = try ELFHeader(bytes)
    segments = try Segment.readAll(bytes, header)
    loadable = try Segment.loadable(segments, bytes)
    sections = try Section.readAll(bytes, header)
    dynamic = try Self.dynamicSegment(segments, bytes)
    buildID = try Self.buildID(segments, sections, bytes)
  }

  private static func dynamicSegment(
    _ segments: [Segment], _ bytes: ELFBytes
  ) throws(ELFError) -> DynamicSegment? {
    for segment in segments where segment.type == Segment.Kind.dynamic {
      return try DynamicSegment(segment, bytes)
    }
    return nil
  }

  private static func buildID(
    _ segments: [Segment], _ sections: [Section], _ bytes: ELFBytes
  ) throws(ELFError) -> [UInt8]? {
    let notes = segments.filter { $0.type == Segment.Kind.note }
    if let found = try BuildID.find(notes.map { ($0.fileOffset, $0.fileSize) }, bytes) {
      return found
    }
    let sections = sections.filter { $0.type == Section.Kind.note }
    return try BuildID.find(sections.map { ($0.fileOffset, $0.size) }, bytes)
  }
}

// MARK: - Addresses

extension ELFImage {
  /// The loadable segments whose bytes may run.
  public var executableSegments: [Segment] { loadable.filter(\.isExecutable) }

  /// The link-time addresses from the first loadable byte to the last; nil where nothing is loaded.
  ///
  /// In memory it begins and ends at page borders.
  public var memorySpan: Range<ModuleOffset>? {
    guard let first = loadable.first, let last = loadable.last else { return nil }
    return first.address..<(last.address + last.memorySize)
  }

  /// The loadable segment with file bytes at `address`; nil where there is none.
  public func segment(containing address: ModuleOffset) -> Segment? {
    var low = 0
    var high = loadable.count
    while low < high {
      let middle = (low + high) / 2
      if loadable[middle].address <= address { low = middle + 1 } else { high = middle }
    }
    guard low > 0, loadable[low - 1].fileAddresses.contains(address) else { return nil }
    return loadable[low - 1]
  }

  /// The file offset of `size` bytes at a link-time address, all in one segment; nil where they
  /// are not in the file.
  public func fileOffset(ofAddress address: ModuleOffset, size: UInt64) -> Int? {
    guard let segment = segment(containing: address),
      segment.fileAddresses.upperBound - address >= size
    else { return nil }
    return Int(segment.fileOffset + (address - segment.address))
  }

  func fileOffset(
    ofAddress address: ModuleOffset, size: UInt64, _ what: String
  ) throws(ELFError) -> Int {
    guard let offset = fileOffset(ofAddress: address, size: size) else {
      throw bytes.malformed(
        what, at: header.programHeaderOffset, expected: "an address in a loadable segment",
        found: "\(address) + \(hexAddress(size))")
    }
    return offset
  }
}

// MARK: - Sections

extension ELFImage {
  private var sectionNames: Range<UInt64>? {
    guard header.nameTableIndex != 0, header.nameTableIndex < UInt64(sections.count) else {
      return nil
    }
    let names = sections[Int(header.nameTableIndex)]
    return names.isInFile ? names.fileOffset..<(names.fileOffset + names.size) : nil
  }

  /// The section's name; empty where the file has no names of sections.
  public func name(of section: Section) throws(ELFError) -> String {
    guard let names = sectionNames else { return "" }
    let start = names.lowerBound + UInt64(section.nameOffset)
    let end = min(names.upperBound, start + SymbolTable.longestName + 1)
    return String(
      decoding: try bytes.string(at: start, before: end, "a section's name"), as: UTF8.self)
  }

  /// The sections of this name: a linked file has at most one as a rule, an object many.
  public func sections(named name: StaticString) -> [Section] {
    guard let names = sectionNames else { return [] }
    return sections.filter {
      bytes.equals(name, at: names.lowerBound + UInt64($0.nameOffset), before: names.upperBound)
    }
  }

  /// The bytes of a section as file offsets; empty for one that the file does not hold.
  public func fileRange(of section: Section) -> Range<Int> {
    section.isInFile ? Int(section.fileOffset)..<Int(section.fileOffset + section.size) : 0..<0
  }

  /// The relocations of a SHT_RELA section.
  public func relocations(of section: Section) throws(ELFError) -> RelocationTable {
    let count = try section.entryCount(
      of: RelocationTable.entrySize, bytes, "a relocation section")
    return RelocationTable(bytes: bytes, offset: section.fileOffset, count: Int(count))
  }
}

// MARK: - Symbols and relocations

extension ELFImage {
  /// .symtab, by section headers; nil in a stripped file.
  public func staticSymbols() throws(ELFError) -> SymbolTable? {
    for section in sections where section.type == Section.Kind.symbols {
      return try SymbolTable(section, sections, bytes)
    }
    return nil
  }

  /// Whether the file has a .symtab, whatever it is worth: a stripped file has none.
  public var hasStaticSymbols: Bool { sections.contains { $0.type == Section.Kind.symbols } }

  /// The dynamic symbols: by the dynamic segment, or .dynsym where there is none.
  public func dynamicSymbols() throws(ELFError) -> SymbolTable? {
    if let dynamic { return try SymbolTable(dynamic, self) }
    for section in sections where section.type == Section.Kind.dynamicSymbols {
      return try SymbolTable(section, sections, bytes)
    }
    return nil
  }

  /// The relocations that the loader applies: DT_RELA and DT_JMPREL.
  public func dynamicRelocations() throws(ELFError) -> [RelocationTable] {
    guard let dynamic else { return [] }
    var tables: [RelocationTable] = []
    let extents = [
      (dynamic.relocations, dynamic.relocationsSize, "DT_RELA"),
      (dynamic.jumpRelocations, dynamic.jumpRelocationsSize, "DT_JMPREL"),
    ]
    for (address, size, what) in extents {
      guard let address, let size, size > 0 else { continue }
      let offset = try fileOffset(ofAddress: address, size: size, what)
      let count = Int(size / RelocationTable.entrySize)
      tables.append(RelocationTable(bytes: bytes, offset: UInt64(offset), count: count))
    }
    return tables
  }

  /// The link-time address of a defined symbol of this name: a global one first, .symtab before
  /// .dynsym; nil where there is none.
  public func address(ofSymbol name: String) throws(ELFError) -> ModuleOffset? {
    let wanted = Array(name.utf8)
    for table in [try staticSymbols(), try dynamicSymbols()] {
      guard let table else { continue }
      var local: ModuleOffset?
      for index in 0..<table.count {
        let symbol = try table[index]
        guard symbol.isDefined, table.isNamed(wanted, symbol) else { continue }
        if symbol.binding != 0 { return symbol.value }
        local = local ?? symbol.value
      }
      if let local { return local }
    }
    return nil
  }
}
