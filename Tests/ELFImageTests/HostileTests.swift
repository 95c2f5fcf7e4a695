// SPDX-License-Identifier: Apache-2.0

import ELFImage
import TestSupport
import Testing

/// Counts, sizes and offsets that lie.
@Suite struct HostileTests {
  private func put<T: FixedWidthInteger>(_ value: T, at offset: Int, in bytes: inout [UInt8]) {
    for index in 0..<MemoryLayout<T>.size {
      bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
    }
  }

  /// A header, `segments` program headers (type, offset, address, file size, memory size) and room.
  private func file(_ segments: [(UInt32, UInt64, UInt64, UInt64, UInt64)], size: Int = 4096)
    -> [UInt8]
  {
    var bytes = IdentityTests.header + [UInt8](repeating: 0, count: size - 64)
    put(UInt64(64), at: 0x20, in: &bytes)
    put(UInt16(56), at: 0x36, in: &bytes)
    put(UInt16(segments.count), at: 0x38, in: &bytes)
    for (index, segment) in segments.enumerated() {
      let at = 64 + 56 * index
      put(segment.0, at: at, in: &bytes)
      put(UInt32(5), at: at + 4, in: &bytes)
      put(segment.1, at: at + 8, in: &bytes)
      put(segment.2, at: at + 16, in: &bytes)
      put(segment.3, at: at + 32, in: &bytes)
      put(segment.4, at: at + 40, in: &bytes)
    }
    return bytes
  }

  /// The same with one section header (after the null one) at 2048.
  private func file(
    sectionType: UInt32, offset: UInt64, size: UInt64, link: UInt32 = 0, entrySize: UInt64 = 0
  ) -> [UInt8] {
    var bytes = IdentityTests.header + [UInt8](repeating: 0, count: 4096 - 64)
    put(UInt64(2048), at: 0x28, in: &bytes)
    put(UInt16(64), at: 0x3a, in: &bytes)
    put(UInt16(2), at: 0x3c, in: &bytes)
    put(sectionType, at: 2112 + 4, in: &bytes)
    put(offset, at: 2112 + 24, in: &bytes)
    put(size, at: 2112 + 32, in: &bytes)
    put(link, at: 2112 + 40, in: &bytes)
    put(entrySize, at: 2112 + 56, in: &bytes)
    return bytes
  }

  @Test("segments that lie about where they are")
  func segments() {
    let load: UInt32 = 1
    let top = UInt64.max
    #expect(IdentityTests.error(file([(load, 0, 0x1000, 4096, 4096)])) == "none")
    #expect(
      IdentityTests.error(file([(load, 4000, 0, 97, 97)])).contains("expected 97 bytes, found 96"))
    #expect(
      IdentityTests.error(file([(load, top, 0, 2, 2)])).contains("found 0: the file is trunc"))
    #expect(
      IdentityTests.error(file([(load, 0, top - 4, 16, 16)]))
        .contains("expected an end inside 64-bit addresses"))
    #expect(IdentityTests.error(file([(load, 0, 0, 16, 8)])).contains("p_memsz"))
    #expect(
      IdentityTests.error(file([(load, 0, 0x1000, 64, 4096), (load, 64, 0x1fff, 64, 64)]))
        .contains("expected an address of 0x2000 or more, found 0x1fff: segments overlap"))
    let shared = (0..<16).map { (load, UInt64(0), UInt64($0) << 20, UInt64(4096), UInt64(4096)) }
    #expect(IdentityTests.error(file(shared)).contains("segments overlap in the file"))
  }

  @Test("counts that no file can hold")
  func counts() {
    var bytes = file([])
    put(UInt16(0xfffe), at: 0x38, in: &bytes)
    #expect(IdentityTests.error(bytes).contains("the program headers at file offset 0x40"))
    bytes = file(sectionType: 1, offset: 0, size: 0)
    put(UInt16(0), at: 0x3c, in: &bytes)
    put(UInt64.max / 8, at: 2048 + 32, in: &bytes)  // the extended count
    #expect(IdentityTests.error(bytes).contains("the section headers at file offset 0x800"))
    bytes = file(sectionType: 1, offset: 0, size: 0)
    put(UInt16(0), at: 0x3a, in: &bytes)
    #expect(IdentityTests.error(bytes).contains("e_shentsize at file offset 0x3a: expected 64"))
    bytes = file([(1, 0, 0, 1, 1)])
    put(UInt16(0), at: 0x36, in: &bytes)
    #expect(IdentityTests.error(bytes).contains("e_phentsize at file offset 0x36: expected 56"))
    #expect(
      IdentityTests.error(file(sectionType: 1, offset: 1, size: .max))
        .contains("the contents of section 1 at file offset 0x1"))
  }

  @Test("symbol tables with no entry size, no strings or names without an end")
  func symbols() throws {
    func image(_ bytes: [UInt8]) throws -> ELFImage {
      try ELFImage(bytes: ELFBytes(path: "libfoo.so", storage: bytes))
    }
    func error(_ work: () throws -> Void) -> String {
      do { try work() } catch { return "\(error)" }
      return "none"
    }
    let noSize = try image(file(sectionType: 2, offset: 0, size: 48))
    #expect(
      error { _ = try noSize.staticSymbols() }.contains("expected entries of 24 bytes, found 0"))
    let odd = try image(file(sectionType: 2, offset: 0, size: 47, entrySize: 24))
    #expect(error { _ = try odd.staticSymbols() }.contains("whole entries"))
    let noStrings = try image(
      file(sectionType: 2, offset: 0, size: 48, link: 7, entrySize: 24))
    #expect(
      error { _ = try noStrings.staticSymbols() }.contains("expected sh_link to a string table"))
    // The table is its own string table, and its last byte is no NUL.
    var bytes = file(sectionType: 2, offset: 256, size: 24, link: 1, entrySize: 24)
    for index in 256..<280 { bytes[index] = 1 }
    for index in 256..<260 { bytes[index] = 0 }
    let endless = try image(bytes)
    let table = try #require(try endless.staticSymbols())
    let symbol = try table[0]
    #expect(try table.name(of: symbol).isEmpty)
    var other = symbol
    other.nameOffset = 5
    #expect(
      error { _ = try table.name(of: other) }.contains("ends with NUL, found none before 0x118"))
    other.nameOffset = .max
    #expect(error { _ = try table.name(of: other) }.contains("a symbol's name"))
    #expect(error { _ = try table[1] }.contains("expected less than 1, found 1"))
  }

  @Test("notes whose sizes run out of their segment")
  func notes() {
    var bytes = file([(4, 256, 0x1000, 32, 32)])
    put(UInt32(4), at: 256, in: &bytes)
    put(UInt32.max, at: 260, in: &bytes)
    #expect(
      IdentityTests.error(bytes).contains(
        "a note at file offset 0x100: expected an end before 0x120"))
    put(UInt32.max, at: 256, in: &bytes)
    #expect(IdentityTests.error(bytes).contains("a note at file offset 0x100"))
    let many = (0..<20).map { _ in (UInt32(4), UInt64(0x800), UInt64(0), UInt64(2000), UInt64(0)) }
    #expect(IdentityTests.error(file(many)).contains("notes that share no bytes"))
  }
}
