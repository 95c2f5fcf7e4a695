// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// A plain line of `nopscope record` does not go through the argument parser, and `--output=DIR`
/// instead of `-o DIR` makes any line one that does: both have to mean the same.
@Suite struct PlainRecordLineTests {
  static let program = Fixture(
    .gcc, ["-O1", "-pg"], as: .positionIndependentExecutable,
    source: "int main(int c, char **v) { return c; }")

  /// The options, then what follows them: the program stands for `PROGRAM`.
  static let right: [[String]] = [
    ["PROGRAM"],
    ["--", "PROGRAM"],
    ["PROGRAM", "--", "-o", "x", "--help", ""],
    ["--", "PROGRAM", "--", "--tracer", "bogus", "-h"],
    ["--tracer", "function", "PROGRAM"],
    ["--tracer", "profile", "--", "PROGRAM", "record"],
    [
      "--filter", "ma*", "--filter", "!mad", "--notrace", "x y,z", "--notrace", ":mod:z", "PROGRAM",
    ],
    ["--graph", "main", "--max-depth", "3", "--threshold", "1.5ms", "--", "PROGRAM"],
    ["--thread", "w*", "--thread", "!w9", "--overwrite", "1M", "PROGRAM"],
    ["--delay", "1000s", "--duration", "5s", "--start-on", "main", "--stop-on", "ma*", "PROGRAM"],
    ["--overwrite", "1M", "--snapshot-on", "main>5s", "--snapshots", "3", "PROGRAM"],
    ["--overwrite", "1M", "--snapshot-signal", "USR1", "PROGRAM"],
    ["--args", "ma*", "--args", "f(int a, char *b) -> int", "PROGRAM"],
    ["--max-depth", "+4", "--threshold", "0.5us", "--overwrite", "65536", "PROGRAM", "a"],
  ]

  /// Lines with something wrong: the parser has to say it, and nothing is recorded.
  static let wrong: [[String]] = [
    [], ["--"], ["--tracer"], ["--tracer", "bogus", "PROGRAM"], ["--tracer", "--", "PROGRAM"],
    ["--max-depth", "-1", "PROGRAM"], ["--max-depth", "many", "PROGRAM"],
    ["--threshold", "5", "PROGRAM"], ["--overwrite", "1K", "PROGRAM"],
    ["--tracer", "hits", "--overwrite", "1M", "PROGRAM"],
    ["--tracer", "function", "--max-depth", "2", "PROGRAM"], ["--filter", "", "PROGRAM"],
    ["--filter", "a\\", "PROGRAM"], ["--graph", "f:traceoff:3", "PROGRAM"],
    ["--delay", "5", "PROGRAM"], ["--duration", "0s", "PROGRAM"], ["--start-on", "!f", "PROGRAM"],
    ["--args", "f(flaot x)", "PROGRAM"], ["--tracer", "function", "--args", "main", "PROGRAM"],
    ["--snapshot-on", "main>5s", "PROGRAM"], ["--snapshots", "3", "PROGRAM"],
    ["--unknown", "x", "PROGRAM"], ["-x", "PROGRAM"],
    ["--filter", "a", "-h"], ["--help"],
  ]

  private struct Outcome: Equatable {
    var ending: ChildResult.Ending
    var output, standardError: String
    /// What session.json says but for times, processes and the like.
    var session: NSDictionary?
  }

  private func record(_ line: [String], as output: ([String]) -> [String]) throws -> Outcome {
    let data = try TemporaryFolder.shared.fresh("plain") + "/data"
    let program = try Self.program.build()
    let words = output([data]) + line.map { $0 == "PROGRAM" ? program : $0 }
    let cache = try TemporaryFolder.shared.fresh("xdg")
    let result = try runNopscope(
      ["record"] + words, environment: ["XDG_CACHE_HOME": cache], timeoutSeconds: 30)
    var session: [String: Any]?
    if let text = FileManager.default.contents(atPath: data + "/session.json") {
      session = try jsonObject(text).filter {
        ["command", "tracer", "options", "exitStatus", "ended"].contains($0.key)
      }
    }
    // Behind the sites stand the bytes that were written, which depend on the time.
    let told = result.standardError.replacing(data, with: "DATA").split(separator: "; ").first
    return Outcome(
      ending: result.ending, output: result.output, standardError: String(told ?? ""),
      session: session.map { $0 as NSDictionary })
  }

  @Test("a plain line and one that the argument parser reads record the same", arguments: right)
  func sameRecording(line: [String]) throws {
    let plain = try record(line) { ["-o"] + $0 }
    #expect(plain.session?["ended"] as? Bool == true)
    #expect(plain == (try record(line) { ["--output=" + $0[0]] }))
    #expect(plain == (try record(line) { ["--output"] + $0 }))
  }

  @Test("what is wrong is said as the argument parser says it", arguments: wrong)
  func sameRefusal(line: [String]) throws {
    let plain = try record(line) { ["-o"] + $0 }
    #expect(plain.session == nil)
    #expect(plain == (try record(line) { ["--output=" + $0[0]] }))
  }

  @Test("of an option that stands twice the last counts, of the rules all")
  func repeated() throws {
    let line = [
      "--tracer", "hits", "--tracer", "function", "--filter", "a", "--filter", "b", "PROGRAM",
    ]
    let plain = try record(line) { ["-o"] + $0 }
    #expect(plain.session?["tracer"] as? String == "function")
    let options = try #require(plain.session?["options"] as? [String: Any])
    #expect(options["filter"] as? [String] == ["a", "b"])
    #expect(plain == (try record(line) { ["--output=" + $0[0]] }))
  }
}
