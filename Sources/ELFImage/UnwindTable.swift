// SPDX-License-Identifier: Apache-2.0

import TextFormat
public import Units

/// Where functions begin and end by the unwinding tables (.eh_frame), which even a stripped file
/// has: LSB Core, "Exception Frames"; DWARF pointer encodings as in its "DWARF Exception Header
/// Encoding".
struct UnwindTable {
  let image: ELFImage
  /// The CIE met last, and how its FDEs encode addresses: neighbours share one.
  private var lastCIE: (offset: UInt64, encoding: UInt8?)?

  init(_ image: ELFImage) { self.image = image }

  private var bytes: ELFBytes { image.bytes }

  /// Function extents as link-time addresses, in no order.
  ///
  /// Entries in encodings that no x86-64 compiler uses for code are left out.
  mutating func functions() throws(ELFError) -> [Range<ModuleOffset>] {
    if let found = try throughHeader() { return found }
    var found: [Range<ModuleOffset>] = []
    for section in image.sections(named: ".eh_frame") where section.isInFile {
      try walk(section, &found)
      break
    }
    return found
  }

  /// By the sorted table of PT_GNU_EH_FRAME; nil where there is none, or of another shape than
  /// every linker gives it.
  private mutating func throughHeader() throws(ELFError) -> [Range<ModuleOffset>]? {
    let what = "PT_GNU_EH_FRAME"
    guard let segment = image.segments.first(where: { $0.type == Segment.Kind.unwindHeader }),
      segment.fileSize >= 12
    else { return nil }
    // Version 1, pointer pcrel sdata4, count udata4, table datarel sdata4.
    guard try bytes.load(UInt32.self, at: segment.fileOffset, what) == 0x3b03_1b01 else {
      return nil
    }
    let count = UInt64(try bytes.load(UInt32.self, at: segment.fileOffset + 8, what))
    guard count <= (segment.fileSize - 12) / 8 else {
      throw bytes.malformed(
        what, at: segment.fileOffset + 8,
        expected: "at most \((segment.fileSize - 12) / 8) entries",
        found: "\(count)")
    }
    var found: [Range<ModuleOffset>] = []
    found.reserveCapacity(Int(count))
    for index in 0..<count {
      let entry = segment.fileOffset + 12 + 8 * index
      let relative = try bytes.load(Int32.self, at: entry + 4, what)
      let address = segment.address.displaced(by: relative)
      let offset = UInt64(try image.fileOffset(ofAddress: address, size: 4, what))
      if let record = try record(at: offset), !record.isCIE {
        try append(record, address: address, &found)
      }
    }
    return found
  }

  private mutating func walk(
    _ section: Section, _ found: inout [Range<ModuleOffset>]
  ) throws(ELFError) {
    var at = section.fileOffset
    let end = section.fileOffset + section.size
    while end > at, end - at >= 4, let record = try record(at: at) {
      if !record.isCIE {
        try append(record, address: section.address &+ (at - section.fileOffset), &found)
      }
      at = record.end
    }
  }

  private struct Record {
    /// File offsets: its first byte, the CIE's id or pointer, and one past its last byte.
    var start, identifier, end: UInt64
    /// The CIE pointer: how far before `identifier` its CIE is; 0 for a CIE.
    var distance: UInt64
    var isCIE: Bool { distance == 0 }
  }

  /// The record at a file offset; nil at the terminator.
  private func record(at offset: UInt64) throws(ELFError) -> Record? {
    let what = "a record of .eh_frame"
    var length = UInt64(try bytes.load(UInt32.self, at: offset, what))
    var identifier = offset + 4
    if length == 0 { return nil }
    if length == 0xffff_ffff {
      length = try bytes.load(UInt64.self, at: offset + 4, what)
      identifier = offset + 12
    }
    let content = try bytes.range(at: identifier, size: length, what)
    let distance = UInt64(try bytes.load(UInt32.self, at: identifier, what))
    return Record(
      start: offset, identifier: identifier, end: UInt64(content.upperBound), distance: distance)
  }

  private mutating func append(
    _ record: Record, address: ModuleOffset, _ found: inout [Range<ModuleOffset>]
  ) throws(ELFError) {
    let cie = record.identifier.subtractingReportingOverflow(record.distance)
    guard !cie.overflow else {
      throw bytes.malformed(
        "an FDE", at: record.start, expected: "its CIE inside the file",
        found: "one \(hexAddress(record.distance)) bytes before \(hexAddress(record.identifier))")
    }
    guard let encoding = try encoding(ofCIE: cie.partialValue) else { return }
    let field = record.identifier + 4
    let fieldAddress = address &+ (field - record.start)
    let start: UInt64
    let length: UInt64
    if encoding & 0x0f == 0x0b || encoding & 0x0f == 0x03 {  // sdata4, udata4
      let value = Int64(try bytes.load(Int32.self, at: field, "an FDE"))
      start = UInt64(bitPattern: value)
      length = UInt64(try bytes.load(UInt32.self, at: field + 4, "an FDE"))
    } else {  // absptr, udata8, sdata8
      start = try bytes.load(UInt64.self, at: field, "an FDE")
      length = try bytes.load(UInt64.self, at: field + 8, "an FDE")
    }
    // Relative to the field itself, or absolute.
    let address = encoding & 0x70 == 0x10 ? fieldAddress &+ start : ModuleOffset(start)
    if length > 0, let end = address.adding(exactly: length) { found.append(address..<end) }
  }
}

extension UnwindTable {
  /// How the FDEs of the CIE at a file offset encode addresses: absolute or relative to
  /// themselves, 4 or 8 bytes; nil for any other way.
  private mutating func encoding(ofCIE offset: UInt64) throws(ELFError) -> UInt8? {
    if let lastCIE, lastCIE.offset == offset { return lastCIE.encoding }
    var encoding = try readEncoding(ofCIE: offset)
    if let known = encoding {
      let isKnown =
        [0x00, 0x03, 0x04, 0x0b, 0x0c].contains(known & 0x0f) && [0, 0x10].contains(known & 0xf0)
      if !isKnown { encoding = nil }
    }
    lastCIE = (offset, encoding)
    return encoding
  }

  private func readEncoding(ofCIE offset: UInt64) throws(ELFError) -> UInt8? {
    let what = "a CIE"
    guard let record = try record(at: offset), record.isCIE else {
      throw bytes.malformed(what, at: offset, expected: "an id of 0", found: "another record")
    }
    var at = record.identifier + 5
    var letters: [UInt8] = []
    while true {
      let letter = try bytes.load(UInt8.self, at: at, what)
      at += 1
      if letter == 0 { break }
      letters.append(letter)
      if letters.count > 8 { return nil }
    }
    guard let first = letters.first else { return 0 }
    guard first == UInt8(ascii: "z") else { return nil }
    for _ in 0..<4 { at = try afterLEB(at) }  // code and data alignment, register, length
    for letter in letters.dropFirst() {
      switch letter {
      case UInt8(ascii: "R"): return try bytes.load(UInt8.self, at: at, what)
      case UInt8(ascii: "L"): at += 1
      case UInt8(ascii: "P"):
        guard let size = Self.size(try bytes.load(UInt8.self, at: at, what)) else { return nil }
        at += 1 + size
      case UInt8(ascii: "S"), UInt8(ascii: "B"): break
      default: return nil
      }
    }
    return 0
  }

  private func afterLEB(_ offset: UInt64) throws(ELFError) -> UInt64 {
    for index in UInt64(0)..<10 where try bytes.load(UInt8.self, at: offset + index, "a CIE") < 128
    {
      return offset + index + 1
    }
    throw bytes.malformed("a CIE", at: offset, expected: "a LEB128 number", found: "no end of it")
  }

  private static func size(_ encoding: UInt8) -> UInt64? {
    switch encoding & 0x0f {
    case 0x00, 0x04, 0x0c: 8
    case 0x03, 0x0b: 4
    case 0x02, 0x0a: 2
    default: nil
    }
  }
}

extension ELFImage {
  /// Function extents by .eh_frame, as link-time addresses, in no order.
  ///
  /// Empty for an object file, whose addresses are not known yet.
  public func unwindFunctions() throws(ELFError) -> [Range<ModuleOffset>] {
    guard header.fileType != .object else { return [] }
    var table = UnwindTable(self)
    return try table.functions()
  }
}
