// SPDX-License-Identifier: Apache-2.0

import TextFormat
public import Units

/// One program header.
public struct Segment: Equatable, Sendable {
  /// Types of segments that are read here.
  public enum Kind {
    /// PT_LOAD.
    public static let load: UInt32 = 1
    /// PT_DYNAMIC.
    public static let dynamic: UInt32 = 2
    /// PT_NOTE.
    public static let note: UInt32 = 4
    /// PT_GNU_EH_FRAME.
    public static let unwindHeader: UInt32 = 0x6474_e550
  }

  /// PT_*.
  public var type: UInt32
  /// PF_*: 1 execute, 2 write, 4 read.
  public var flags: UInt32
  /// File offset of its first byte.
  public var fileOffset: UInt64
  /// Link-time address of its first byte.
  public var address: ModuleOffset
  /// Bytes in the file, and bytes in memory (the rest is zero).
  public var fileSize: UInt64
  /// Bytes in memory.
  public var memorySize: UInt64

  /// PF_X.
  public var isExecutable: Bool { flags & 1 != 0 }
  /// PF_W.
  public var isWritable: Bool { flags & 2 != 0 }

  /// Where its bytes are in the file.
  public var fileAddresses: Range<ModuleOffset> { address..<(address + fileSize) }
  /// Where its bytes are in memory.
  public var memoryAddresses: Range<ModuleOffset> { address..<(address + memorySize) }
  /// Its bytes in the file.
  ///
  /// Checked when the file was read.
  public var fileRange: Range<Int> { Int(fileOffset)..<Int(fileOffset + fileSize) }
}

extension Segment {
  /// All segments, each inside the file and the address space.
  static func readAll(_ bytes: ELFBytes, _ header: ELFHeader) throws(ELFError) -> [Segment] {
    let table = try ELFHeader.table(
      bytes, at: header.programHeaderOffset, count: header.programHeaderCount,
      entrySize: ELFHeader.programHeaderSize, "the program headers")
    var segments: [Segment] = []
    segments.reserveCapacity(Int(header.programHeaderCount))
    for offset in stride(
      from: table.lowerBound, to: table.upperBound, by: ELFHeader.programHeaderSize)
    {
      segments.append(try Segment(bytes, at: UInt64(offset)))
    }
    return segments
  }

  private init(_ bytes: ELFBytes, at offset: UInt64) throws(ELFError) {
    let what = "a program header"
    type = try bytes.load(UInt32.self, at: offset, what)
    flags = try bytes.load(UInt32.self, at: offset + 4, what)
    fileOffset = try bytes.load(UInt64.self, at: offset + 8, what)
    address = ModuleOffset(try bytes.load(UInt64.self, at: offset + 16, what))
    fileSize = try bytes.load(UInt64.self, at: offset + 32, what)
    memorySize = try bytes.load(UInt64.self, at: offset + 40, what)
    try check(bytes, at: offset)
  }

  private func check(_ bytes: ELFBytes, at headerOffset: UInt64) throws(ELFError) {
    _ = try bytes.range(at: fileOffset, size: fileSize, "a segment")
    guard address.adding(exactly: max(memorySize, fileSize)) != nil else {
      throw bytes.malformed(
        "a program header", at: headerOffset, expected: "an end inside 64-bit addresses",
        found: "\(address) + \(hexAddress(max(memorySize, fileSize)))")
    }
    guard type != Kind.load || fileSize <= memorySize else {
      throw bytes.malformed(
        "a program header", at: headerOffset,
        expected: "at most \(hexAddress(memorySize)) bytes in the file (p_memsz)",
        found: hexAddress(fileSize))
    }
  }

  /// The loadable ones by address, checked not to overlap in memory, nor, in sum, in the file:
  /// a walk over them all looks at each byte a bounded number of times.
  static func loadable(_ segments: [Segment], _ bytes: ELFBytes) throws(ELFError) -> [Segment] {
    let sorted = segments.filter { $0.type == Kind.load }.sorted { $0.address < $1.address }
    var end = ModuleOffset.zero
    var total: UInt64 = 0
    for segment in sorted where segment.memorySize > 0 {
      guard segment.address >= end else {
        throw bytes.malformed(
          "the loadable segment", at: segment.fileOffset, expected: "an address of \(end) or more",
          found: "\(segment.address): segments overlap")
      }
      end = segment.address + segment.memorySize
      total += segment.fileSize
      // Twice: some linkers map a page at the border of two segments into both.
      guard total <= 2 * bytes.count else {
        throw bytes.malformed(
          "the loadable segment", at: segment.fileOffset, expected: "segments that share no bytes",
          found: "\(total) bytes in all: segments overlap in the file")
      }
    }
    return sorted.filter { $0.memorySize > 0 }
  }
}
