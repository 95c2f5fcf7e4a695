// SPDX-License-Identifier: Apache-2.0

import CallSites
import ELFImage
import Foundation
import MachineCode
import TestSupport
import Testing

/// A recorded table is data: whatever it says, nothing unconfirmed comes out of it.
@Suite struct RecordedDamageTests {
  static let fixture = Fixture(.clang, ["-O2", "-pg"])

  /// The recorded file with its section changed, read again.
  private func read(_ change: (inout [UInt8]) -> Void) throws -> SiteTable {
    let path = try RecordedTests.record(Self.fixture)
    let image = try ELFImage(path: path)
    let section = try #require(image.sections(named: ".nopscope.sites").first)
    let range = image.fileRange(of: section)
    var file = image.bytes.storage
    var contents = Array(file[range])
    change(&contents)
    #expect(contents.count == range.count)
    file.replaceSubrange(range, with: contents)
    let changed = try ELFImage(bytes: ELFBytes(path: "libfoo.so", storage: file))
    return try SiteTable.recorded(changed, decoder: Decoder())
  }

  private func expectError(_ text: String, _ change: (inout [UInt8]) -> Void) {
    #expect {
      _ = try read(change)
    } throws: { error in
      "\(error)".hasPrefix("libfoo.so") && "\(error)".contains(text)
        && "\(error)".hasSuffix("run nopscope recordmcount on it again")
    }
  }

  // Header 32, build-id 20 padded to 24: entries from 56.
  private let first = 56

  @Test("unchanged, it is accepted")
  func unchanged() throws {
    #expect(try read { _ in }.sites.count == FixtureSource.instrumented.count)
  }

  @Test("another build's table is refused: its section copied over by objcopy")
  func anotherBuild() throws {
    let other = try RecordedTests.record(Fixture(.clang, ["-O0", "-pg"]))
    let path = try RecordedTests.record(Self.fixture)
    let section = path + ".section"
    try Tools.run("objcopy", ["--dump-section", ".nopscope.sites=" + section, other])
    try Tools.run("objcopy", ["--update-section", ".nopscope.sites=" + section, path])
    #expect {
      _ = try RecordedTests.recorded(path)
    } throws: { error in
      "\(error)".contains("is of another build: expected build-id ")
        && "\(error)".hasSuffix(": run nopscope recordmcount on it again")
    }
  }

  @Test("damage is refused and named")
  func damage() {
    expectError("magic: expected 4e4f505349544553, found 00") { $0[0] = 0 }
    expectError("version: expected 1, found 2") { $0[8] = 2 }
    expectError("length of the build-id: expected 1 to 64 bytes, found 0") { $0[12] = 0 }
    expectError("length of the build-id") { $0[15] = 0xff }
    expectError("is of another build") { $0[32] ^= 1 }
    expectError("size: expected 12 sites") { $0[16] += 1 }
    expectError("size: expected ") { for index in 16..<24 { $0[index] = 0xff } }
    expectError("size: expected ") { $0[23] = 0x10 }
    expectError("entry 0: expected a known form") { $0[first + 12] = 6 }
    expectError("entry 0: expected a known form") { $0[first + 13] = 3 }
    expectError("entry 0: expected a known form") { $0[first + 14] = 1 }
    expectError("entry 0: expected a known form") { $0[first + 11] = 0xff }
    expectError("unsorted or overlapping") { bytes in
      let second = Array(bytes[(first + 16)..<(first + 32)])
      bytes.replaceSubrange((first + 16)..<(first + 32), with: bytes[first..<(first + 16)])
      bytes.replaceSubrange(first..<(first + 16), with: second)
    }
    expectError("expected an address in an executable segment") { $0[first + 1] = 0x70 }
  }

  @Test("an entry that does not match the file is refused")
  func wrongEntries() {
    expectError("expected a call site of form e8") { $0[first] += 1 }  // beside the call
    expectError("expected a call site of form ff15") { $0[first + 12] = 1 }
    expectError("expected a call site of form nop5") { $0[first + 12] = 3 }
    expectError("expected a call site of form e8") { $0[first + 13] = 1 }  // mcount, not fentry
    expectError("a function that starts at") { $0[first + 8] -= 1 }
  }

  @Test("a call turned into something else is refused")
  func changedText() throws {
    let path = try RecordedTests.record(Self.fixture)
    let table = try RecordedTests.recorded(path)
    let site = try #require(table.sites.first)
    let at = try #require(table.image.fileOffset(ofAddress: site.offset, size: 5))
    var file = table.image.bytes.storage
    file[at] = 0xe9
    let changed = try ELFImage(bytes: ELFBytes(path: "libfoo.so", storage: file))
    #expect {
      _ = try SiteTable.recorded(changed, decoder: Decoder())
    } throws: { error in
      "\(error)".contains("expected a call site of form e8, found e9 ")
    }
  }
}
