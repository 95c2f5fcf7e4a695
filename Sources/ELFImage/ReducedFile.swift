// SPDX-License-Identifier: Apache-2.0

import TextFormat
import Units

/// What is wanted of a file of debug symbols, as a small ELF image of its own: the notes, and the symbol
/// table with its names, or the sections' names and what .gnu_debuglink says.
///
/// A debug file has hundreds of megabytes of other things, so it is not read whole. Its program headers
/// are left out: elfutils keeps the program's own, which lead beyond the end of the debug file.
struct ReducedFile {
  /// Reads bytes of the file: fewer than asked for where it ends.
  typealias Reading = (_ offset: UInt64, _ count: Int) throws(ELFError) -> [UInt8]

  /// Bytes of section headers, of symbols and of their names: what is beyond belongs to no program
  /// whose functions anybody could look at, and is refused.
  private static let mostHeaders: UInt64 = 16 << 20
  private static let mostSymbols: UInt64 = 128 << 20
  private static let mostNames: UInt64 = 512 << 20
  /// A build-id's note has 36 bytes. A section of notes that is longer is left out.
  private static let mostNotes: UInt64 = 4096
  private static let mostNoteSections = 64

  private static let mostSectionNames: UInt64 = 16 << 20
  private static let mostLink: UInt64 = 512

  /// What an image has besides the notes.
  enum Content { case symbols, sectionNames }

  private let path: String
  private let read: Reading
  private var bytes: [UInt8]

  /// The reduced image of the file at `path`, whose bytes `read` has.
  static func image(
    path: String, _ content: Content = .symbols, _ read: @escaping Reading
  ) throws(ELFError) -> ELFImage {
    var file = try ReducedFile(path: path, read)
    try file.addSections(content)
    return try ELFImage(bytes: ELFBytes(path: path, storage: file.bytes))
  }

  private init(path: String, _ read: @escaping Reading) throws(ELFError) {
    self.path = path
    self.read = read
    bytes = try read(0, ELFHeader.size)
    guard bytes.count == ELFHeader.size, bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else {
      throw .notELF(path: path, found: Array(bytes.prefix(4)))
    }
  }

  /// Puts the section headers behind the ELF header, and what is wanted behind them.
  private mutating func addSections(_ content: Content) throws(ELFError) {
    let what = "the section headers"
    let table = load(UInt64.self, at: 0x28)
    store(UInt64(0), at: 0x20)  // e_phoff
    store(UInt16(0), at: 0x38)  // e_phnum
    let nameTable = Int(load(UInt16.self, at: ELFHeader.nameTableIndexField))
    if content == .symbols { store(UInt16(0), at: ELFHeader.nameTableIndexField) }
    guard table != 0 else { return store(UInt16(0), at: ELFHeader.sectionCountField) }
    bytes += try exactly(ELFHeader.sectionHeaderSize, at: table, what)
    var count = UInt64(load(UInt16.self, at: ELFHeader.sectionCountField))
    // A number that does not fit is in the first header.
    if count == 0 { count = load(UInt64.self, at: header(0) + 32) }
    let size = try bounded(count.multipliedReportingOverflow(by: 64), Self.mostHeaders, table, what)
    bytes.removeLast(ELFHeader.sectionHeaderSize)
    bytes += try exactly(size, at: table, what)
    store(UInt64(ELFHeader.size), at: 0x28)
    switch content {
    case .symbols: try keepSymbols(Int(count))
    case .sectionNames: try keepNames(Int(count), nameTable)
    }
  }

  private mutating func keepSymbols(_ count: Int) throws(ELFError) {
    let symbols = (0..<count).first {
      load(UInt32.self, at: header($0) + 4) == Section.Kind.symbols
    }
    let names = symbols.map { Int(load(UInt32.self, at: header($0) + 40)) }
    var notesLeft = Self.mostNoteSections
    for index in 0..<count {
      let type = load(UInt32.self, at: header(index) + 4)
      let size = load(UInt64.self, at: header(index) + 32)
      if index == symbols {
        try keep(index, atMost: Self.mostSymbols, "the symbol table")
      } else if index == names, type == Section.Kind.strings {
        try keep(index, atMost: Self.mostNames, "the names of symbols")
      } else if type == Section.Kind.note, size <= Self.mostNotes, notesLeft > 0 {
        notesLeft -= 1
        try keep(index, atMost: Self.mostNotes, "a note")
      } else {
        store(UInt32(0), at: header(index) + 4)
      }
    }
  }

  private mutating func keepNames(_ count: Int, _ nameTable: Int) throws(ELFError) {
    var notesLeft = Self.mostNoteSections
    var names = 0..<0
    if nameTable < count, load(UInt32.self, at: header(nameTable) + 4) == Section.Kind.strings {
      try keep(nameTable, atMost: Self.mostSectionNames, "the names of sections")
      let start = Int(load(UInt64.self, at: header(nameTable) + 24))
      names = start..<bytes.count
    }
    for index in 0..<count where index != nameTable {
      let type = load(UInt32.self, at: header(index) + 4)
      let size = load(UInt64.self, at: header(index) + 32)
      let isLink = isNamed(".gnu_debuglink\0", index, names) && size <= Self.mostLink
      if isLink || (type == Section.Kind.note && size <= Self.mostNotes && notesLeft > 0) {
        notesLeft -= 1
        try keep(index, atMost: Self.mostNotes, "a note")
      } else {
        store(UInt32(0), at: header(index) + 4)
      }
    }
  }

  private func isNamed(_ name: StaticString, _ section: Int, _ names: Range<Int>) -> Bool {
    let start = names.lowerBound + Int(load(UInt32.self, at: header(section)))
    guard start + name.utf8CodeUnitCount <= names.upperBound else { return false }
    return name.withUTF8Buffer { bytes[start...].starts(with: $0) }
  }

  /// Where the header of a section is in `bytes`.
  private func header(_ index: Int) -> Int { ELFHeader.size + index * ELFHeader.sectionHeaderSize }

  /// Appends a section's bytes and lets its header say where they are now.
  private mutating func keep(_ index: Int, atMost limit: UInt64, _ what: String) throws(ELFError) {
    let offset = load(UInt64.self, at: header(index) + 24)
    let size = load(UInt64.self, at: header(index) + 32)
    let count = try bounded((size, false), limit, offset, what)
    let place = UInt64(bytes.count)
    bytes += try exactly(count, at: offset, what)
    store(place, at: header(index) + 24)
  }
}

extension ReducedFile {
  private func bounded(
    _ size: (partialValue: UInt64, overflow: Bool), _ limit: UInt64, _ offset: UInt64,
    _ what: String
  ) throws(ELFError) -> Int {
    guard !size.overflow, size.partialValue <= limit else {
      throw .malformed(
        path: path, what: what, offset: offset, expected: "at most \(limit) bytes",
        found: size.overflow ? "more than 64 bits can say" : "\(size.partialValue)")
    }
    return Int(size.partialValue)
  }

  private func exactly(_ count: Int, at offset: UInt64, _ what: String) throws(ELFError) -> [UInt8]
  {
    // off_t is signed.
    let found = offset <= UInt64(Int64.max) - UInt64(count) ? try read(offset, count) : []
    guard found.count == count else {
      throw .truncated(
        path: path, what: what, offset: offset, expected: UInt64(count), found: UInt64(found.count))
    }
    return found
  }

  /// A number in the headers, which `bytes` holds whole.
  private func load<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) -> T {
    var value: T = 0
    for index in (0..<MemoryLayout<T>.size).reversed() {
      value = value << 8 | T(truncatingIfNeeded: bytes[offset + index])
    }
    return value
  }

  private mutating func store<T: FixedWidthInteger>(_ value: T, at offset: Int) {
    for index in 0..<MemoryLayout<T>.size {
      bytes[offset + index] = UInt8(truncatingIfNeeded: value >> T(8 * index))
    }
  }
}
