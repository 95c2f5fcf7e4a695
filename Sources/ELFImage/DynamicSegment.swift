// SPDX-License-Identifier: Apache-2.0

public import Units

/// What the dynamic segment says: the loader's own view of the file, there even where the section
/// headers are stripped.
public struct DynamicSegment: Equatable, Sendable {
  /// Link-time addresses and sizes in bytes; nil where the tag is absent.
  public private(set) var strings: ModuleOffset?
  /// DT_STRSZ, bytes.
  public private(set) var stringsSize: UInt64?
  /// DT_SYMTAB, a link-time address.
  public private(set) var symbols: ModuleOffset?
  /// DT_HASH, a link-time address.
  public private(set) var hash: ModuleOffset?
  /// DT_GNU_HASH, a link-time address.
  public private(set) var gnuHash: ModuleOffset?
  /// DT_RELA, a link-time address.
  public private(set) var relocations: ModuleOffset?
  /// DT_RELASZ, bytes.
  public private(set) var relocationsSize: UInt64?
  /// DT_JMPREL, a link-time address.
  public private(set) var jumpRelocations: ModuleOffset?
  /// DT_PLTRELSZ, bytes.
  public private(set) var jumpRelocationsSize: UInt64?
  /// DT_TEXTREL or DF_TEXTREL: the loader writes into text.
  public private(set) var hasTextRelocations = false
}

extension DynamicSegment {
  init(_ segment: Segment, _ bytes: ELFBytes) throws(ELFError) {
    let end = segment.fileOffset + segment.fileSize
    var at = segment.fileOffset
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
    case 4: hash = ModuleOffset(value)
    case 5: strings = ModuleOffset(value)
    case 6: symbols = ModuleOffset(value)
    case 7: relocations = ModuleOffset(value)  // DT_RELA
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
    case 23: jumpRelocations = ModuleOffset(value)
    case 30: hasTextRelocations = hasTextRelocations || value & 4 != 0  // DT_FLAGS, DF_TEXTREL
    case 0x6fff_fef5: gnuHash = ModuleOffset(value)
    default: break
    }
  }
}
