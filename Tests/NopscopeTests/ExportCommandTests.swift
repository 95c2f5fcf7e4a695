// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `nopscope export`, as a user runs it.
@Suite struct ExportCommandTests {
  private func recording(_ tracer: String = "function_graph") throws -> String {
    let module = SyntheticModule("/bin/x", firstFunction: 0, functions: ["main", "leaf"])
    let chunk = SyntheticChunk {
      $0.entry(0, at: 1_000_010)
      $0.call(1, from: 1_000_020, to: 1_000_050)
      $0.exit(at: 1_000_100)
    }
    return try SyntheticRecording(
      tracer: tracer, processes: [SyntheticProcess(modules: [module], chunks: [chunk])]
    ).write()
  }

  @Test("folded stacks go to standard output, the closing line to standard error")
  func folded() throws {
    let directory = try recording()
    let result = try runNopscope(["export", directory, "--format", "folded"])
    #expect(result.ending == .exit(0))
    #expect(result.output == "main 60\nmain;leaf 30\n")
    #expect(
      result.standardError
        == "folded: 2 calls of 2 functions in 1 thread; 0 events lost; 21 bytes\n")
    let counts = try runNopscope(["export", directory, "--format", "folded", "--count"])
    #expect(counts.output == "main 1\nmain;leaf 1\n")
  }

  @Test("-o names the file, and the closing line says how to open it")
  func file() throws {
    let path = try TemporaryFolder.shared.fresh("export") + "/trace.perfetto"
    let result = try runNopscope(
      ["export", try recording(), "--format", "perfetto", "-o", path])
    #expect(result.ending == .exit(0))
    #expect(result.output == "")
    #expect(result.standardError.hasPrefix("\(path): 2 calls of 2 functions in 1 thread; "))
    #expect(result.standardError.hasSuffix("; open it at https://ui.perfetto.dev\n"))
    #expect(FileManager.default.fileExists(atPath: path))
  }

  static let wrong: [([String], Int32, String)] = [
    (
      ["--format", "perfetto", "--count"], 64, "only the formats flamegraph and folded count calls"
    ),
    (["--format", "uftrace"], 64, "name it with -o DIR"),
    (["--format", "svg"], 64, "  - flamegraph\n"),
    ([], 64, "--format"),
    (["--format", "chrome", "-o", "/dev/full"], 1, "/dev/full: cannot write: No space left"),
    (
      ["--format", "chrome", "--thread", "nobody"], 1,
      "no thread nobody; the recording has 4711 (program)"
    ),
  ]

  @Test("what cannot be done is said in one line", arguments: wrong)
  func refused(arguments: [String], status: Int32, expected: String) throws {
    let result = try runNopscope(["export", try recording()] + arguments)
    #expect(result.ending == .exit(status))
    #expect(result.standardError.contains(expected), "\(result.standardError)")
    #expect(result.output == "")
  }

  @Test("perfetto is refused on a terminal", .enabled(if: Tools.hasScript))
  func terminal() throws {
    let result = try runNopscopeOnTerminal("export \(try recording()) --format perfetto")
    #expect(result.ending == .exit(1))
    #expect(result.output.contains("is binary and standard output is a terminal"))
  }

  @Test("an export that its viewer cannot open says so before it starts")
  func tooLarge() throws {
    var processes: [SyntheticProcess] = []
    let chunk = SyntheticChunk { $0.call(0, from: 1_000_010, to: 1_000_020) }
    let module = SyntheticModule("/bin/x", functions: ["main"])
    processes.append(SyntheticProcess(modules: [module], chunks: [chunk]))
    let path = try SyntheticRecording(processes: processes).write()
    func export(_ options: [String]) throws -> ChildResult {
      try runNopscope(["export", "--format", "perfetto", "-o", path + "/out", path] + options)
    }
    #expect(!(try export([]).standardError.contains("will have about")))
    // The file is longer than what is in it: a hole counts as nothing, so real bytes are needed.
    let events = try #require(
      try FileManager.default.contentsOfDirectory(atPath: path).first { $0.hasSuffix(".events") })
    let file = try #require(FileHandle(forWritingAtPath: path + "/" + events))
    try file.seekToEnd()
    let block = Data(repeating: 0, count: 1 << 24)
    for _ in 0..<17 { try file.write(contentsOf: block) }
    try file.close()
    let large = try export([])
    #expect(
      large.standardError.contains("perfetto will have about 2.3 GB; ui.perfetto.dev opens about"))
    #expect(!(try export(["--min", "1ns"]).standardError.contains("will have about")))
  }
}
