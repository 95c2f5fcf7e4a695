// SPDX-License-Identifier: Apache-2.0

import Units

/// The dynamic symbol table, found through the dynamic segment. That segment does not say how many
/// symbols there are: .dynsym does, or the hash tables (for symbols that others may look up) and
/// the relocations (for those that this file looks up).
extension SymbolTable {
  /// Nil where the file has no dynamic symbols.
  init?(_ dynamic: DynamicSegment, _ image: borrowing ELFImage) throws(ELFError) {
    let bytes = image.bytes
    guard let symbols = dynamic.symbols, let strings = dynamic.strings else { return nil }
    let size = dynamic.stringsSize ?? 0
    let names = UInt64(try image.fileOffset(ofAddress: strings, size: size, "DT_STRTAB"))
    let start = UInt64(try image.fileOffset(ofAddress: symbols, size: 0, "DT_SYMTAB"))
    let count = try Self.dynamicCount(dynamic, start, image)
    let (length, overflow) = count.multipliedReportingOverflow(by: Self.entrySize)
    guard !overflow else { throw bytes.truncated("DT_SYMTAB", start, .max) }
    _ = try image.fileOffset(ofAddress: symbols, size: length, "DT_SYMTAB")
    self.init(bytes: bytes, offset: start, count: Int(count), names: names..<(names + size))
  }

  private static func dynamicCount(
    _ dynamic: DynamicSegment, _ start: UInt64, _ image: borrowing ELFImage
  ) throws(ELFError) -> UInt64 {
    for section in image.sections
    where section.type == Section.Kind.dynamicSymbols && section.fileOffset == start {
      return section.size / entrySize
    }
    if let hash = dynamic.hash {
      let at = UInt64(try image.fileOffset(ofAddress: hash, size: 8, "DT_HASH"))
      return UInt64(try image.bytes.load(UInt32.self, at: at + 4, "DT_HASH"))  // nchain
    }
    var count: UInt64 = 0
    if let hash = dynamic.gnuHash { count = try gnuCount(hash, image) }
    for table in try image.dynamicRelocations() {
      for index in 0..<table.count { count = max(count, UInt64(try table[index].symbol) + 1) }
    }
    return count
  }

  /// The last chain starts at the highest bucket and ends at the first odd value.
  private static func gnuCount(
    _ hash: ModuleOffset, _ image: borrowing ELFImage
  ) throws(ELFError) -> UInt64 {
    let bytes = image.bytes
    let what = "DT_GNU_HASH"
    let at = UInt64(try image.fileOffset(ofAddress: hash, size: 16, what))
    let buckets = UInt64(try bytes.load(UInt32.self, at: at, what))
    let first = UInt64(try bytes.load(UInt32.self, at: at + 4, what))
    let bloomWords = UInt64(try bytes.load(UInt32.self, at: at + 8, what))
    let bucketStart = at + 16 + 8 * bloomWords
    _ = try bytes.range(at: bucketStart, size: 4 * buckets, what)
    var last: UInt64 = 0
    for bucket in 0..<buckets {
      last = max(last, UInt64(try bytes.load(UInt32.self, at: bucketStart + 4 * bucket, what)))
    }
    guard last >= first, last > 0 else { return first }
    let chains = bucketStart + 4 * buckets
    while try bytes.load(UInt32.self, at: chains + 4 * (last - first), what) & 1 == 0 { last += 1 }
    return last + 1
  }
}
