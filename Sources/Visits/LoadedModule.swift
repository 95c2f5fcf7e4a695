// SPDX-License-Identifier: Apache-2.0
//
// The modules of another process, read from its memory: its files may have been replaced since, or
// lie in another mount namespace.

import Glibc

/// One module: an ELF file as the loader of a process has mapped it.
struct LoadedModule {
  /// Where its link_map is; 0: the loader's own header was taken instead.
  let map: UInt64
  let loadBias: UInt64
  /// What dynamic symbol tables are read from, by DT_*: addresses and sizes.
  private let dynamic: [UInt64: UInt64]
  /// Of thread variables; nil: it has none.
  let threadImage: (address: UInt64, fileBytes: UInt64, bytes: UInt64)?
  /// Its executable segments, in memory.
  let text: [Range<UInt64>]

  private static let mostHeaders = 64, mostDynamic = 256
  private static let mostSymbols: UInt32 = 1 << 20

  /// `header`: where its ELF header is mapped.
  init?(header: UInt64, loadBias: UInt64, map: UInt64, _ memory: borrowing ProcessMemory) {
    guard let file = memory.read(header, 64), Array(file[0..<5]) == [0x7f, 0x45, 0x4c, 0x46, 2]
    else { return nil }
    let first = header + file.number(UInt64.self, 32)
    let size = UInt64(file.number(UInt16.self, 54))
    let count = Int(file.number(UInt16.self, 56))
    guard count <= Self.mostHeaders, size >= 56 else { return nil }
    var table: UInt64?
    var image: (UInt64, UInt64, UInt64)?
    var text: [Range<UInt64>] = []
    for index in 0..<count {
      guard let one = memory.read(first + UInt64(index) * size, 56) else { return nil }
      let address = loadBias &+ one.number(UInt64.self, 16)
      let bytes = one.number(UInt64.self, 40)
      switch one.number(UInt32.self, 0) {
      case 1 where one.number(UInt32.self, 4) & 1 != 0 && address &+ bytes > address:
        text.append(address..<(address + bytes))
      case 2: table = address
      case 7: image = (address, one.number(UInt64.self, 32), bytes)
      default: break
      }
    }
    guard let table, let entries = Self.entries(table, loadBias, memory) else { return nil }
    self.map = map
    self.loadBias = loadBias
    self.text = text
    dynamic = entries
    threadImage = image
  }

  private static func entries(
    _ table: UInt64, _ loadBias: UInt64, _ memory: borrowing ProcessMemory
  ) -> [UInt64: UInt64]? {
    var found: [UInt64: UInt64] = [:]
    for index in 0..<mostDynamic {
      guard let one = memory.read(table + UInt64(index) * 16, 16) else { return nil }
      let tag = one.number(UInt64.self, 0)
      if tag == 0 { return found }
      var value = one.number(UInt64.self, 8)
      // The loader has added the bias to addresses, but not where the table is read-only.
      if [5, 6, 0x6fff_fef5].contains(tag), value < loadBias { value += loadBias }
      found[tag] = value
    }
    return nil
  }

  /// The address of a function or an object that it exports; nil: it exports none of this name.
  func symbol(_ name: String, _ memory: borrowing ProcessMemory) -> UInt64? {
    guard let symbols = dynamic[6], let strings = dynamic[5], let table = dynamic[0x6fff_fef5],
      let head = memory.read(table, 16)
    else { return nil }
    // DT_GNU_HASH: buckets, first symbol, words of the filter; the filter, the buckets, the chains.
    let buckets = head.number(UInt32.self, 0)
    let offset = head.number(UInt32.self, 4)
    let filter = UInt64(head.number(UInt32.self, 8)) * 8
    guard buckets > 0 else { return nil }
    let wanted = Array(name.utf8)
    let hash = wanted.reduce(5381 as UInt32) { $0 &* 33 &+ UInt32($1) }
    let bucketTable = table + 16 + filter
    let chains = bucketTable + UInt64(buckets) * 4
    guard var index = memory.number(UInt32.self, bucketTable + UInt64(hash % buckets) * 4),
      index >= offset, index != 0
    else { return nil }
    while index < Self.mostSymbols {
      guard let link = memory.number(UInt32.self, chains + UInt64(index - offset) * 4) else {
        return nil
      }
      if link | 1 == hash | 1, let one = memory.read(symbols + UInt64(index) * 24, 24),
        one.number(UInt16.self, 6) != 0,
        memory.text(strings + UInt64(one.number(UInt32.self, 0)), limit: 256) == wanted
      {
        return loadBias &+ one.number(UInt64.self, 8)
      }
      if link & 1 != 0 { return nil }
      index += 1
    }
    return nil
  }
}

extension [UInt8] {
  func number<T: FixedWidthInteger>(_ type: T.Type, _ offset: Int) -> T {
    withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) }
  }
}
