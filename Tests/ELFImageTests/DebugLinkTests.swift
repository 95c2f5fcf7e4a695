// SPDX-License-Identifier: Apache-2.0

import CDebugFiles
import Foundation
import TestSupport
import Testing

@testable import ELFImage

/// What a stripped file says of its debug file, and the two codes that this needs.
@Suite struct DebugLinkTests {
  private func checksum(_ bytes: [UInt8], in pieces: Int = 1) -> UInt32 {
    var crc: UInt32 = 0
    let size = max(1, (bytes.count + pieces - 1) / pieces)
    for start in stride(from: 0, to: bytes.count, by: size) {
      let piece = Array(bytes[start..<min(start + size, bytes.count)])
      crc = ndbg_crc32(crc, piece, piece.count)
    }
    return crc
  }

  @Test("the checksum is the CRC-32 of IEEE 802.3, in one piece or in many")
  func crc() {
    #expect(checksum(Array("123456789".utf8)) == 0xcbf4_3926)
    #expect(checksum([]) == 0)
    var generator = SeededGenerator(seed: 1)
    let bytes = (0..<1001).map { _ in UInt8.random(in: 0...255, using: &generator) }
    for pieces in [2, 3, 7, 100, 1001] { #expect(checksum(bytes, in: pieces) == checksum(bytes)) }
  }

  @Test(
    "a link is the name and the checksum that objcopy wrote", arguments: ["d", "de.debug", "deb"])
  func link(name: String) throws {
    let program = try StrippedProgram()
    let file = "\(program.folder)/\(name)"
    try program.makeDebugFile(file)
    #expect(try ELFImage(path: program.path).debugLink() == nil)
    try program.addLink(to: file)
    let link = try #require(try ELFImage(path: program.path).debugLink())
    #expect(link.name == name)
    #expect(link.checksum == checksum([UInt8](try Data(contentsOf: URL(fileURLWithPath: file)))))
  }

  @Test("what cannot be a file's name is no link", arguments: ["/", "\n", "\u{1}"])
  func hostileNames(letter: String) throws {
    let program = try StrippedProgram()
    try program.makeDebugFile(program.folder + "/abcd.debug")
    try program.addLink(to: program.folder + "/abcd.debug")
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: program.path)))
    let image = try ELFImage(bytes: ELFBytes(path: "a", storage: bytes))
    let section = try #require(image.sections(named: ".gnu_debuglink").first)
    func link() throws -> DebugLink? {
      try ELFImage(bytes: ELFBytes(path: "a", storage: bytes)).debugLink()
    }
    #expect(try link() != nil)
    bytes[Int(section.fileOffset) + 2] = letter.utf8.first ?? 0
    #expect(try link() == nil)
    // No end of the name.
    for index in 0..<Int(section.size) { bytes[Int(section.fileOffset) + index] = 0x61 }
    #expect(try link() == nil)
  }

  private func decode(
    _ bytes: Data, limit: Int = 64 << 20, library: String = "liblzma.so.5"
  ) -> (ndbg_xz_result, Data) {
    var output: UnsafeMutablePointer<UInt8>?
    var length = 0
    let result = ndbg_xz_decode(library, [UInt8](bytes), bytes.count, limit, &output, &length)
    defer { free(output) }
    return (result, output.map { Data(bytes: $0, count: length) } ?? Data())
  }

  private func compressed(_ data: Data) throws -> Data {
    let file = try TemporaryFolder.shared.fresh("xz") + "/data"
    try data.write(to: URL(fileURLWithPath: file))
    try Tools.run("xz", [file])
    return try Data(contentsOf: URL(fileURLWithPath: file + ".xz"))
  }

  @Test("what xz compressed comes back, however much smaller it had become")
  func xz() throws {
    for length in [0, 1, 5000, 900_000] {
      let data = Data((0..<length).map { UInt8($0 / 1000 & 255) })
      let (result, found) = decode(try compressed(data))
      let isSame = found == data  // the runner would look for differences for minutes
      #expect(result == NDBG_XZ_DONE && isSame, "\(length) bytes")
    }
  }

  @Test("the result and the decoder have a limit; without liblzma there is no result")
  func limits() throws {
    let bomb = try compressed(Data(count: 20 << 20))
    #expect(bomb.count < 10_000)
    #expect(decode(bomb, limit: 20 << 20).0 == NDBG_XZ_DONE)
    #expect(decode(bomb, limit: (20 << 20) - 1).0 == NDBG_XZ_TOO_LARGE)
    // This fits, and its decoder's dictionary of 8 MiB does not.
    #expect(decode(try compressed(Data("x".utf8)), limit: 1 << 10).0 == NDBG_XZ_TOO_LARGE)
    #expect(decode(bomb, library: "libno-such-thing.so.5").0 == NDBG_XZ_NO_LIBRARY)
    #expect(decode(bomb, library: "libc.so.6").0 == NDBG_XZ_NO_LIBRARY)
  }

  @Test("damage anywhere in an xz stream, and its end anywhere, is damage")
  func damagedXZ() throws {
    let whole = try compressed(Data((0..<2000).map { UInt8($0 * $0 >> 3 & 255) }))
    for length in 0..<whole.count { #expect(decode(whole.prefix(length)).0 == NDBG_XZ_DAMAGED) }
    for index in whole.indices {
      var damaged = whole
      damaged[index] ^= 0x10
      #expect(decode(damaged).0 != NDBG_XZ_DONE, "byte \(index)")
    }
  }
}
