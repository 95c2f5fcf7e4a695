// SPDX-License-Identifier: Apache-2.0
//
// One entry of the cache, little-endian:
//
//   offset  bytes
//   0       8      magic: "NOPCACHE"
//   8       4      version: of this layout and of what discovery finds
//   12      4      L: bytes of the build-id
//   16      24     the file's size, and its time of modification in seconds and nanoseconds
//   40      4      flags: 1 text relocations; 2 names from outside of the file
//   44      4      N: number of sites
//   48      8      R: bytes of reasons for skipped places
//   56      8      B: bytes of symbols
//   64      8      state of the files that names from outside may come from
//   72      8      O: bytes of what else is said of them
//   80      8      checksum of all that follows and of the 80 bytes before
//   88      L      build-id, then zeros up to a multiple of 8
//   ...     24*N   nrec_plan_entry, `function` being where the name begins in the symbols
//   ...     R      reasons: lines COUNT TAB REASON
//   ...     O      lines: the name in .gnu_debuglink, then a problem each
//   ...     B      symbols

import CRecordingABI
import RecordingSchema

struct SiteCacheEntry {
  let buildID: [UInt8]
  let file: SiteCache.FileState

  private static let magic = Array("NOPCACHE".utf8)
  /// Raise it whenever discovery or `EntryShape` finds something else in the same file.
  private static let version: UInt32 = 4
  private static let headerSize = 80
  private static let entrySize = MemoryLayout<nrec_plan_entry>.stride

  func encode(_ sites: FileSites) -> [UInt8] {
    var header = ByteWriter()
    header.append(Self.magic)
    header.append(Self.version)
    header.append(UInt32(buildID.count))
    header.append(file.size)
    header.append(file.modifiedSeconds)
    header.append(file.modifiedNanoseconds)
    let names = sites.outsideNames
    header.append(UInt32((sites.hasTextRelocations ? 1 : 0) | (names != nil ? 2 : 0)))
    header.append(UInt32(sites.entries.count))
    let reasons = SkippedReason.text(sites.skippedCounts)
    header.append(UInt64(reasons.count))
    header.append(UInt64(sites.symbols.count))
    let outside = names.map { Self.lines([$0.link] + $0.problems) } ?? []
    header.append(names?.state ?? 0)
    header.append(UInt64(outside.count))
    var body = ByteWriter()
    body.append(buildID)
    body.pad(to: 8)
    body.append(sites.entries.withUnsafeBytes { Array($0) })
    body.append(reasons)
    body.append(outside)
    body.append(sites.symbols)
    header.append(Self.checksum(header.bytes, body.bytes[...]))
    return header.bytes + body.bytes
  }

  /// Nil unless it is whole and of this build and this file.
  func decode(_ bytes: [UInt8]) -> FileSites? {
    var reader = ByteReader(bytes)
    guard reader.take(8)?.elementsEqual(Self.magic) == true,
      reader.number(UInt32.self) == Self.version,
      reader.number(UInt32.self) == UInt32(buildID.count),
      reader.number(Int64.self) == file.size,
      reader.number(Int64.self) == file.modifiedSeconds,
      reader.number(Int64.self) == file.modifiedNanoseconds,
      let flags = reader.number(UInt32.self), let count = reader.number(UInt32.self),
      let reasonBytes = reader.number(UInt64.self), let size = reader.number(UInt64.self),
      let state = reader.number(UInt64.self), let outsideBytes = reader.number(UInt64.self),
      let checksum = reader.number(UInt64.self),
      checksum == Self.checksum(Array(bytes[..<Self.headerSize]), bytes[reader.offset...]),
      reader.take(buildID.count)?.elementsEqual(buildID) == true,
      reader.take((8 - reader.offset % 8) % 8) != nil,
      let entries = reader.take(Int(count) * Self.entrySize),
      let reasons = reader.take(Int(clamping: reasonBytes)),
      let skipped = SkippedReason.parse(reasons),
      let outside = reader.take(Int(clamping: outsideBytes)), size == UInt64(reader.remaining),
      let symbols = reader.take(reader.remaining)
    else { return nil }
    return FileSites(
      entries: Self.load(entries, Int(count)), symbols: Array(symbols), skippedCounts: skipped,
      hasTextRelocations: flags & 1 != 0,
      outsideNames: flags & 2 != 0 ? Self.names(outside, state: state) : nil)
  }

  /// A line each; what would end a line early is left out.
  private static func lines(_ texts: [String]) -> [UInt8] {
    Array(texts.map { $0.filter { !$0.isNewline } + "\n" }.joined().utf8)
  }

  private static func names(_ lines: ArraySlice<UInt8>, state: UInt64) -> OutsideNames {
    let texts = lines.split(separator: 0x0a, omittingEmptySubsequences: false)
      .map { String(decoding: $0, as: UTF8.self) }
    // The last line ends too, and leaves nothing behind its end.
    return OutsideNames(
      link: texts.first ?? "", state: state, problems: Array(texts.dropFirst().dropLast()))
  }

  /// The entries are integers throughout: any bits are valid.
  private static func load(_ bytes: ArraySlice<UInt8>, _ count: Int) -> [nrec_plan_entry] {
    [nrec_plan_entry](unsafeUninitializedCapacity: count) { entries, filled in
      UnsafeMutableRawBufferPointer(entries).copyBytes(from: bytes)
      filled = count
    }
  }

  /// Eight bytes at a time: entries can be tens of megabytes.
  private static func checksum(_ header: [UInt8], _ body: ArraySlice<UInt8>) -> UInt64 {
    var hash = fnv1a(header.prefix(headerSize))
    body.withUnsafeBytes { bytes in
      var index = 0
      while index + 8 <= bytes.count {
        let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        hash = (hash ^ word) &* 0x9e37_79b9_7f4a_7c15
        hash ^= hash >> 29
        index += 8
      }
      while index < bytes.count {
        hash = (hash ^ UInt64(bytes[index])) &* 0x100_0000_01b3
        index += 1
      }
    }
    return hash
  }
}
