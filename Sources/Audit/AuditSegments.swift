// SPDX-License-Identifier: Apache-2.0
//
// The executable segments of a mapped file, read through its descriptor: the audit has no path that
// it could trust. Two reads of bounded size, and nothing of the file is used beyond what the
// mappings show: a hostile one can only give its own bytes a wrong link-time address.

import Units

/// The executable PT_LOADs of a file, and whether its text is relocated.
struct TextSegments {
  struct Segment {
    var fileOffset: UInt64
    var address: ModuleOffset
    var fileSize: UInt64
    var memorySize: UInt64

    /// Link-time address less file offset.
    var linkDelta: UInt64 { address.rawValue &- fileOffset }

    /// Of the module that `mapping` shows, if it shows this segment.
    func bias(of mapping: MemoryMapping) -> LoadBias {
      LoadBias((mapping.start &- mapping.fileOffset &- linkDelta).rawValue)
    }

    /// First and last page of the file that the segment's mapping shows.
    var filePages: Range<UInt64> {
      let start = fileOffset & ~pageMask
      let (end, overflow) = fileOffset.addingReportingOverflow(fileSize)
      guard !overflow, end <= UInt64.max - pageMask else { return start..<start }
      return start..<((end + pageMask) & ~pageMask)
    }

    /// Where, in the file, the bytes end that a mapping of this segment shows as they are.
    ///
    /// The kernel maps whole pages. Where a segment continues in memory after its bytes in the
    /// file, the loader has zeroed the rest of its last page.
    func end(ofMappingThatIsExecutable isExecutable: Bool) -> UInt64 {
      if memorySize > fileSize { return fileOffset &+ fileSize }
      return isExecutable ? .max : filePages.upperBound
    }
  }

  var executable: [Segment] = []
  var hasTextRelocations = false

  /// The segment whose pages include the file's byte at `offset`.
  func segment(showing offset: UInt64) -> Segment? {
    executable.first { $0.filePages.contains(offset) }
  }

  /// Reads them; empty for a file that is not 64-bit little-endian ELF.
  init(of file: borrowing ReadableFile) throws(Errno) {
    let header = try file.bytes(at: 0, count: 64)
    // ELF-64 Object File Format 1.5, figure 2: e_phoff at 32, e_phentsize at 54, e_phnum at 56.
    guard header.count == 64, header.starts(with: [0x7F, 0x45, 0x4C, 0x46, 2, 1]),
      field(header, 54, bytes: 2) == 56
    else { return }
    // A 16-bit count: at most 3.6 MB.
    let count = Int(field(header, 56, bytes: 2))
    let table = try file.bytes(at: field(header, 32, bytes: 8), count: count * 56)
    for start in stride(from: 0, to: table.count - 55, by: 56) {
      let segment = Segment(
        fileOffset: field(table, start + 8, bytes: 8),
        address: ModuleOffset(field(table, start + 16, bytes: 8)),
        fileSize: field(table, start + 32, bytes: 8), memorySize: field(table, start + 40, bytes: 8)
      )
      switch field(table, start, bytes: 4) {
      case 1 where field(table, start + 4, bytes: 4) & 1 != 0: executable.append(segment)
      case 2: hasTextRelocations = try Self.relocatesText(file, dynamic: segment)
      default: break
      }
    }
  }

  private static func relocatesText(
    _ file: borrowing ReadableFile, dynamic: Segment
  ) throws(Errno) -> Bool {
    // Some fifty entries is usual; a hostile size is cut at 4096.
    let table = try file.bytes(
      at: dynamic.fileOffset, count: Int(min(dynamic.fileSize, 16 * 4096)))
    for start in stride(from: 0, to: table.count - 15, by: 16) {
      let value = field(table, start + 8, bytes: 8)
      switch field(table, start, bytes: 8) {
      case 0: return false
      // DT_TEXTREL; DT_FLAGS with DF_TEXTREL.
      case 22: return true
      case 30 where value & 4 != 0: return true
      default: break
      }
    }
    return false
  }
}

let pageMask: UInt64 = 4095

/// A little-endian field; the caller has checked that it lies inside `bytes`.
private func field(_ bytes: [UInt8], _ offset: Int, bytes count: Int) -> UInt64 {
  var value: UInt64 = 0
  for index in (0..<count).reversed() { value = value << 8 | UInt64(bytes[offset + index]) }
  return value
}

extension ReadableFile {
  /// Up to `count` bytes from `offset`, fewer where the file ends.
  fileprivate borrowing func bytes(at offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
    guard offset <= UInt64(Int64.max) else { return [] }
    var failure: Errno?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      do throws(Errno) {
        filled = try read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
      } catch { failure = error }
    }
    if let failure { throw failure }
    return bytes
  }
}
