// SPDX-License-Identifier: Apache-2.0

import CallSites
import Foundation
import MachineCode
import TestSupport
import Testing

@Suite struct RecordedTests {
  static let rows = [
    FormRow(.clang, "-O2 -pg", [.e8], .mcount),
    FormRow(.gcc, "-O2 -pg", [.ff15], .mcount),
    FormRow(.gcc, "-O2 -pg -fPIC -mfentry", as: .staticExecutable, [.addr32e8], .fentry),
    FormRow(.gcc, "-O2 -fpatchable-function-entry=7,2", [.nop1x5], .patchable),
    FormRow(.gcc, "-O2 -fpatchable-function-entry=5,2", [], .patchable),
    FormRow(.clang, "-O2 -fpatchable-function-entry=6 -fcf-protection", [.nop6], .patchable),
    FormRow(
      .gcc, "-O2 -pg -fno-pic -mrecord-mcount -mnop-mcount", as: .executable, [.nop5], .mcount),
  ]

  static func recorded(_ path: String) throws -> SiteTable {
    try SiteTable.recorded(path: path, decoder: Decoder())
  }

  /// A recorded copy of the fixture's file.
  static func record(_ fixture: Fixture) throws -> String {
    let output = try TemporaryFolder.shared.fresh("recorded") + "/a.out"
    try DiscoveryTests.discover(fixture.build()).record(to: output)
    return output
  }

  static func bytes(_ path: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  @Test("what is recorded is what was found, even once the file is stripped", arguments: rows)
  func roundTrip(row: FormRow) throws {
    let found = try DiscoveryTests.discover(row.fixture.build())
    let path = try Self.record(row.fixture)
    let read = try Self.recorded(path)
    #expect(read.sites == found.sites)
    #expect(read.skipped == found.skipped)
    let stripped = path + ".stripped"
    try Tools.run("strip", ["-s", path, "-o", stripped])
    // A static executable's mcount is known by its symbol alone.
    if row.fixture.product != .staticExecutable {
      #expect(try Self.recorded(stripped).sites == found.sites)
    }
  }

  @Test(
    "recording leaves every byte in place but three header fields, and the mode", arguments: rows)
  func nothingElseChanges(row: FormRow) throws {
    let original = try row.fixture.build()
    let path = try Self.record(row.fixture)
    let before = try Self.bytes(original)
    let after = try Self.bytes(path)
    let changed = before.indices.filter { before[$0] != after[$0] }
    let allowed = Set(0x28..<0x30).union(0x3c..<0x40)
    #expect(changed.allSatisfy(allowed.contains))
    let mode = { try FileManager.default.attributesOfItem(atPath: $0)[.posixPermissions] as? Int }
    #expect(try mode(path) == mode(original))
    // binutils reads it, and finds nothing to complain about.
    let read = try runChild("readelf", ["-aW", path])
    #expect(read.ending == .exit(0))
    #expect(!read.standardError.contains("arning"))
  }

  @Test("recording twice gives the same bytes as once, and leaves nothing beside the file")
  func recordingTwice() throws {
    let path = try Self.record(Self.rows[0].fixture)
    let once = try Self.bytes(path)
    try DiscoveryTests.discover(path).record()
    #expect(try Self.bytes(path) == once)
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["a.out"])
  }

  @Test("a recorded table is replaced even where another tool has moved it")
  func recordingAfterAnotherTool() throws {
    let path = try Self.record(Self.rows[0].fixture)
    try Tools.run("objcopy", ["--add-section", "other=/proc/self/status", path])
    let found = try DiscoveryTests.discover(path)
    try found.record()
    #expect(try Self.recorded(path).sites == found.sites)
    let sections = try Tools.run("readelf", ["-SW", path])
    #expect(sections.components(separatedBy: ".nopscope.sites").count == 2)
  }

  @Test("a symbolic link stays one, and its file is replaced")
  func symbolicLinks() throws {
    let path = try Self.record(Self.rows[0].fixture)
    try ProgramFile.copy(Self.rows[0].fixture.build(), to: path + ".so")
    try FileManager.default.createSymbolicLink(
      atPath: path + ".link", withDestinationPath: path + ".so")
    try DiscoveryTests.discover(path + ".link").record()
    #expect(
      try FileManager.default.destinationOfSymbolicLink(atPath: path + ".link") == path + ".so")
    #expect(try !Self.recorded(path + ".so").sites.isEmpty)
  }

  @Test("a file without a build-id is refused, and not touched")
  func noBuildID() throws {
    let fixture = Fixture(.gcc, ["-O2", "-pg"], link: ["-Wl,--build-id=none"])
    let path = try fixture.build()
    let before = try Self.bytes(path)
    #expect {
      try DiscoveryTests.discover(path).record()
    } throws: { error in
      "\(error)" == "\(path): expected a build-id to bind the table to, found none: "
        + "link with -Wl,--build-id"
    }
    #expect(try Self.bytes(path) == before)
  }

  @Test("an output that cannot be written is an error, and the file stays")
  func unwritableOutput() throws {
    let table = try DiscoveryTests.discover(Self.rows[0].fixture.build())
    let output = try TemporaryFolder.shared.fresh("gone") + "/no/such/folder"
    #expect {
      try table.record(to: output)
    } throws: { error in
      "\(error)".hasSuffix(
        "cannot make a file beside it: No such file or directory: the file is as it was")
    }
  }
}
