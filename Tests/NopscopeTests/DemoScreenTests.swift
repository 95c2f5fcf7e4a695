// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// What `nopscope demo` looks like, and what it makes of a wrong command line.
@Suite(.serialized) struct DemoScreenTests {
  private static let escape: UInt8 = 0x1b

  /// Without colours, as somebody counts its columns.
  private func plain(_ output: String) -> String {
    output.replacing(#/\u{1b}\[[0-9;]*m/#, with: "").replacing("\r\n", with: "\n")
  }

  private func checkWidth(_ output: String) {
    for line in plain(output).split(separator: "\n") {
      #expect(line.count <= 80, "\(line.count) columns: \(line)")
      #expect(!line.contains(#/\{(good|bad|dim|code|head|\/)\}/#), "a mark is left: \(line)")
      #expect(line.last != " ", "blanks at the end: \(line)")
    }
  }

  @Test("not on a terminal: every scene, plain, at most 80 columns, one closing line, status 0")
  func wholeDemo() throws {
    let settings = ["TERM": "xterm-256color"]
    let result = try runNopscope(["demo"], environment: settings, timeoutSeconds: 120)
    #expect(result.ending == .exit(0), "\(result.output.suffix(2000))")
    #expect(result.standardError == "")
    #expect(!result.standardOutput.contains(Self.escape))
    checkWidth(result.output)
    let heads = result.output.matches(of: #/(?m)^-- (\w+): /#).map { String($0.1) }
    #expect(heads == DemoTests.scenes)
    #expect(!result.output.contains("FAILED") && !result.output.contains("UNEXPECTED"))
    let last = try #require(result.output.split(separator: "\n").last)
    #expect(last.wholeMatch(of: #/9 scenes, all \d+ expectations held \(\d+\.\d s\)/#) != nil)
  }

  @Test(
    "on a terminal it is in colour, and not where NO_COLOR is set or the terminal is dumb",
    .enabled(if: Tools.hasScript, "script (util-linux) is not here"),
    arguments: [
      ([:], true), (["NO_COLOR": ""], true), (["NO_COLOR": "1"], false), (["TERM": "dumb"], false),
    ] as [([String: String], Bool)])
  func colour(environment: [String: String], isColoured: Bool) throws {
    let result = try runNopscopeOnTerminal(
      "demo --scene cmpxchg", environment: environment.mapValues { $0 })
    #expect(result.ending == .exit(0))
    #expect(result.standardOutput.contains(Self.escape) == isColoured)
    #expect(result.output.contains("\u{1b}[32m  ok\u{1b}[0m") == isColoured)
    #expect(plain(result.output).contains("-- cmpxchg: "))
    checkWidth(result.output)
  }

  @Test("--scene plays those scenes alone, in the order asked for")
  func someScenes() throws {
    let result = try runNopscope(["demo", "--scene", "static", "--scene", "cmpxchg", "--json"])
    #expect(result.ending == .exit(0))
    let scenes = try #require(
      try jsonObject(result.standardOutput)["scenes"] as? [[String: Any]])
    #expect(scenes.compactMap { $0["name"] as? String } == ["static", "cmpxchg"])
    let text = try runNopscope(["demo", "--scene", "disabled"])
    #expect(text.output.matches(of: #/(?m)^-- /#).count == 1)
    #expect(text.output.contains("1 scene, its expectation held ("))
  }

  @Test(
    "--engine shows that engine alone",
    arguments: [("shipped", 3), ("verified", 1), ("zapped", 1), ("static", 1)])
  func oneEngine(engine: String, flashRuns: Int) throws {
    let result = try runNopscope(
      ["demo", "--scene", "unload", "--scene", "flash", "--engine", engine, "--json"])
    #expect(result.ending == .exit(0))
    let scenes = try #require(
      try jsonObject(result.standardOutput)["scenes"] as? [[String: Any]])
    let cells = try #require(scenes[0]["cells"] as? [[String: Any]])
    let runs = try #require(scenes[1]["runs"] as? [[String: Any]])
    #expect(cells.count == 18 && runs.count == flashRuns)
    #expect((cells + runs).allSatisfy { $0["engine"] as? String == engine })
  }

  @Test(
    "a wrong command line is exit status 64, and nothing is played",
    arguments: [
      ["--scene", "nope"], ["--engine", "2.6.29"], ["--library", "a.so"], ["--call", "f"],
      ["--library", "a.so", "--call", "f", "--scene", "cost"], ["--nope"], ["cost"], ["--scene"],
    ])
  func usage(arguments: [String]) throws {
    let result = try runNopscope(["demo"] + arguments)
    #expect(result.ending == .exit(64))
    #expect(result.output == "")
    #expect(result.standardError.contains("Usage: nopscope demo"))
  }

  @Test("no temporary file is left behind")
  func temporaryFiles() throws {
    let folder = try TemporaryFolder.shared.fresh("tmpdir")
    let result = try runNopscope(["demo", "--scene", "static"], environment: ["TMPDIR": folder])
    #expect(result.ending == .exit(0))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
  }
}
