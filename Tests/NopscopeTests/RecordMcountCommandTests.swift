// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `nopscope recordmcount`, as a build runs it.
@Suite struct RecordMcountCommandTests {
  private func copy(_ fixture: Fixture) throws -> String {
    let path = try TemporaryFolder.shared.fresh("record") + "/libfoo.so"
    try ProgramFile.copy(fixture.build(), to: path)
    return path
  }

  @Test("record, strip, list: the sites stay, and the program still runs")
  func recordStripList() throws {
    let fixture = Fixture(
      .gcc, ["-O2", "-pg", "-mfentry"], as: .positionIndependentExecutable)
    let path = try copy(fixture)
    let before = try runNopscope(["sites", path, "--json"])
    // -pg's start-up code writes a profile when the program exits.
    let settings = ["GMON_OUT_PREFIX": path + ".gmon"]
    let status = try runChild(path, environment: settings).ending
    let recorded = try runNopscope(["recordmcount", path])
    #expect(recorded.ending == .exit(0))
    #expect(
      recorded.standardError == "\(path): 11 sites (11 ff15), 0 skipped recorded\n")
    #expect(try runNopscope(["sites", path, "--json"]).output == before.output)
    try Tools.run("strip", ["-s", path])
    let offsets = { (result: ChildResult) throws -> [Int] in
      let sites = try jsonObject(result.standardOutput)["sites"] as? [[String: Any]]
      return sites?.compactMap { $0["offset"] as? Int } ?? []
    }
    #expect(try offsets(runNopscope(["sites", path, "--json"])) == offsets(before))
    #expect(try runChild(path, environment: settings).ending == status)
  }

  @Test("-o leaves the file as it is")
  func output() throws {
    let path = try copy(Fixture(.clang, ["-O2", "-pg"]))
    let before = try Data(contentsOf: URL(fileURLWithPath: path))
    let result = try runNopscope(["recordmcount", path, "-o", path + ".recorded"])
    #expect(result.ending == .exit(0))
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == before)
    #expect(try runNopscope(["sites", path + ".recorded"]).ending == .exit(0))
  }

  @Test("another build's table is refused")
  func anotherBuild() throws {
    let path = try copy(Fixture(.clang, ["-O2", "-pg"]))
    let other = try copy(Fixture(.clang, ["-O0", "-pg"]))
    #expect(try runNopscope(["recordmcount", other]).ending == .exit(0))
    try Tools.run("objcopy", ["--dump-section", ".nopscope.sites=\(path).sites", other])
    try Tools.run("objcopy", ["--add-section", ".nopscope.sites=\(path).sites", path])
    let refused = try runNopscope(["sites", path])
    #expect(refused.ending == .exit(1))
    #expect(refused.output == "")
    #expect(refused.standardError.contains("is of another build"))
    #expect(try runNopscope(["recordmcount", path]).ending == .exit(0))
    #expect(try runNopscope(["sites", path]).ending == .exit(0))
  }

  @Test("a file without a build-id is refused and stays as it is")
  func noBuildID() throws {
    let path = try copy(Fixture(.gcc, ["-O2", "-pg"], link: ["-Wl,--build-id=none"]))
    let before = try Data(contentsOf: URL(fileURLWithPath: path))
    let result = try runNopscope(["recordmcount", path])
    #expect(result.ending == .exit(1))
    #expect(result.standardError.hasSuffix("found none: link with -Wl,--build-id\n"))
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == before)
  }
}
