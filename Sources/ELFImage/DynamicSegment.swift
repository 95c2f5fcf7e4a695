// SPDX-License-Identifier: Apache-2.0

/// What the dynamic segment says: the loader's own view of the file, there even where the section
/// headers are stripped.
public struct DynamicSegment: Equatable, Sendable {
  /// Link-time addresses and sizes in bytes; nil where the tag is absent.
  public private(set) var strings: UInt64?
  /// DT_STRSZ, bytes.
  public private(set) var stringsSize: UInt64?
  /// DT_SYMTAB, a link-time address.
  public private(set) var symbols: UInt64?
  /// DT_HASH, a link-time address.
  public private(set) var hash: UInt64?
  /// DT_GNU_HASH, a link-time address.
  public private(set) var gnuHash: UInt64?
  /// DT_RELA, a link-time address.
  public private(set) var relocations: UInt64?
  /// DT_RELASZ, bytes.
  public private(set) var relocationsSize: UInt64?
  /// DT_JMPREL, a link-time address.
  public private(set) var jumpRelocations: UInt64?
  /// DT_PLTRELSZ, bytes.
  public private(set) var jumpRelocationsSize: UInt64?
  /// DT_TEXTREL or DF_TEXTREL: the loader writes into text.
  public private(set) var hasTextRelocations = false
}

extension DynamicSegment {
  init(_ segment: Segment, _ bytes: ELFBytes) throws(ELFError) {
    let end = segment.offset + segment.fileSize
    var at = segment.offset
    while end - at >= 16 {
      let tag = try bytes.load(Int64.self, at: at, "the dynamic segment")
      let value = try bytes.load(UInt64.self, at: at + 8, "the dynamic segment")
      if tag == 0 { return }
      try take(tag, value, at, bytes)
      at += 16
    }
  }

  private mutating func take(
    _ tag: Int64, _ value: UInt64, _ at: UInt64, _ bytes: ELFBytes
  ) throws(ELFError) {
    switch tag {
    case 2: jumpRelocationsSize = value  // DT_PLTRELSZ
    case 4: hash = value
    case 5: strings = value
    case 6: symbols = value
    case 7: relocations = value  // DT_RELA
    case 8: relocationsSize = value
    case 9, 11:  // DT_RELAENT, DT_SYMENT
      guard value == 24 else {
        throw bytes.malformed(
          tag == 9 ? "DT_RELAENT" : "DT_SYMENT", at: at, expected: "24", found: "\(value)")
      }
    case 10: stringsSize = value
    case 20:  // DT_PLTREL
      guard value == 7 else {
        throw bytes.malformed("DT_PLTREL", at: at, expected: "7 (DT_RELA)", found: "\(value)")
      }
    case 22: hasTextRelocations = true
    case 23: jumpRelocations = value
    case 30: hasTextRelocations = hasTextRelocations || value & 4 != 0  // DT_FLAGS, DF_TEXTREL
    case 0x6fff_fef5: gnuHash = value
    default: break
    }
  }
}
