// SPDX-License-Identifier: Apache-2.0

/// The dynamic symbol table, found through the dynamic segment. That segment does not say how many
/// symbols there are: the hash tables do.
extension SymbolTable {
  /// Nil where the file has no dynamic symbols.
  init?(_ dynamic: DynamicSegment, _ image: borrowing ELFImage) throws(ELFError) {
    let bytes = image.bytes
    guard let symbols = dynamic.symbols, let strings = dynamic.strings else { return nil }
    let size = dynamic.stringsSize ?? 0
    let names = UInt64(try image.fileOffset(ofAddress: strings, size: size, "DT_STRTAB"))
    let start = UInt64(try image.fileOffset(ofAddress: symbols, size: 0, "DT_SYMTAB"))
    let counted = try Self.dynamicCount(dynamic, image)
    // A file without a hash table: what fits before the names, which every linker puts after.
    let count = counted ?? (strings > symbols ? (strings - symbols) / Self.entrySize : 0)
    let (length, overflow) = count.multipliedReportingOverflow(by: Self.entrySize)
    guard !overflow else { throw bytes.truncated("DT_SYMTAB", start, .max) }
    _ = try image.fileOffset(ofAddress: symbols, size: length, "DT_SYMTAB")
    self.init(bytes: bytes, offset: start, count: Int(count), names: names..<(names + size))
  }

  private static func dynamicCount(
    _ dynamic: DynamicSegment, _ image: borrowing ELFImage
  ) throws(ELFError) -> UInt64? {
    if let hash = dynamic.hash {
      let at = UInt64(try image.fileOffset(ofAddress: hash, size: 8, "DT_HASH"))
      return UInt64(try image.bytes.load(UInt32.self, at: at + 4, "DT_HASH"))  // nchain
    }
    guard let hash = dynamic.gnuHash else { return nil }
    return try gnuCount(hash, image)
  }

  /// The last chain starts at the highest bucket and ends at the first odd value.
  private static func gnuCount(
    _ hash: UInt64, _ image: borrowing ELFImage
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
