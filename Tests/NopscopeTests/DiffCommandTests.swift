// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

/// `nopscope diff`, as a user runs it.
@Suite struct DiffCommandTests {
  /// Main calls `work` so often, each time for so long, and one more function.
  private func recording(
    program: String = "/bin/app-1.0", library: String = "/lib/libone.so", work: UInt64 = 100,
    calls: UInt64 = 10, extra: String = "extra"
  ) throws -> String {
    let base: UInt64 = 1_000_000
    let chunk = SyntheticChunk { encoder in
      encoder.entry(0, at: base)
      for index in 0..<calls {
        encoder.call(2, from: base + 1000 * index, to: base + 1000 * index + work)
      }
      encoder.call(1, from: base + 50_000, to: base + 50_200)
      encoder.exit(at: base + 100_000)
    }
    let modules = [
      SyntheticModule(program, buildID: "01", functions: ["main", extra]),
      SyntheticModule(library, buildID: "02", firstFunction: 2, functions: ["work"]),
    ]
    var process = SyntheticProcess(modules: modules, chunks: [chunk])
    process.program = program
    return try SyntheticRecording(processes: [process]).write()
  }

  @Test("it shows one figure before and after, the largest change first, new and gone functions")
  func table() throws {
    let old = try recording()
    let new = try recording(program: "/opt/app-1.1", work: 300, calls: 10, extra: "added")
    let result = try runNopscope(["diff", old, new])
    #expect(result.ending == .exit(0))
    #expect(
      result.output == """
        SELF BEFORE      AFTER     ×     CHANGE  FUNCTION
           1.000 us   3.000 us  3.00  +2.000 us  work
          98.800 us  96.800 us  0.98  -2.000 us  main
                  -     200 ns   new    +200 ns  added
             200 ns          -  gone    -200 ns  extra

        """)
    let calls = try runNopscope(
      ["diff", old, try recording(calls: 12), "--column", "calls", "--limit", "1"])
    #expect(
      calls.output == """
        CALLS BEFORE  AFTER     ×  CHANGE  FUNCTION
                  10     12  1.20      +2  work

        """)
    let document = try jsonObject(try runNopscope(["diff", old, new, "--json"]).standardOutput)
    #expect(document["schema"] as? String == "nopscope.report-diff/1")
    #expect((document["functions"] as? [Any])?.count == 4)
  }

  @Test(
    "--sort sorts by a column: numbers from the highest, new functions first, gone ones last",
    arguments: [
      ("change", ["work", "main", "added", "extra"]),
      ("ratio", ["added", "work", "main", "extra"]),
      ("before", ["main", "work", "extra", "added"]),
      ("after", ["main", "work", "added", "extra"]),
      ("name", ["added", "extra", "main", "work"]),
    ])
  func sort(order: String, expected: [String]) throws {
    let old = try recording()
    let new = try recording(program: "/opt/app-1.1", work: 300, extra: "added")
    let result = try runNopscope(["diff", old, new, "--sort", order])
    #expect(result.ending == .exit(0))
    let lines = result.output.split(separator: "\n").dropFirst()
    #expect(lines.compactMap { $0.split(separator: " ").last.map(String.init) } == expected)
    let document = try jsonObject(
      try runNopscope(["diff", old, new, "--sort", order, "--json"]).standardOutput)
    let pairs = try #require(document["functions"] as? [[String: Any]])
    let names = pairs.map { pair in
      ["after", "before"].lazy.compactMap { (pair[$0] as? [String: Any])?["function"] as? String }
        .first
    }
    #expect(names == expected)
  }

  @Test("report --diff shows the same table, and has no --sort")
  func reportDiff() throws {
    let old = try recording()
    let new = try recording(program: "/opt/app-1.1", work: 300, extra: "added")
    let table = try runNopscope(["diff", old, new]).output
    #expect(table.contains("SELF BEFORE"))
    #expect(try runNopscope(["report", new, "--diff", old]).output == table)
    let sorted = try runNopscope(["report", new, "--diff", old, "--sort", "self"])
    #expect(sorted.ending == .exit(64))
    #expect(sorted.standardError.contains("nopscope diff has a --sort of its own"))
  }

  @Test("--map takes one library for another")
  func renamed() throws {
    let old = try recording()
    let new = try recording(library: "/lib/libtwo.so", work: 200)
    let apart = try runNopscope(["diff", old, new]).output
    #expect(apart.contains("gone") && apart.contains("new"))
    let same = try runNopscope(["diff", old, new, "--map", "libone.so=libtwo.so"]).output
    #expect(same.contains("   1.000 us   2.000 us  2.00  +1.000 us  work"))
    #expect(!same.contains("gone") && !same.contains("new"))
  }

  @Test("--fail-if ends with 3 where a function grew, and names it")
  func failIf() throws {
    let (old, new) = (try recording(), try recording(work: 300))
    let grown = try runNopscope(["diff", old, new, "--fail-if", "+10%"])
    #expect(grown.ending == .exit(3))
    #expect(grown.standardError.contains("--fail-if +10%: work: self was 1.000 us, is 3.000 us"))
    #expect(try runNopscope(["diff", old, new, "--fail-if", "+250%"]).ending == .exit(0))
    #expect(try runNopscope(["diff", new, old, "--fail-if", "+10%"]).ending == .exit(0))
    #expect(try runNopscope(["diff", old, old, "--fail-if", "+0%"]).ending == .exit(0))
  }

  @Test(
    "a wrong command line is said",
    arguments: [
      (["--fail-if", "10"], "expected a growth such as +10%"),
      (["--map", "one"], "expected OLD=NEW"),
      (["--column", "size"], "expected one of self, total"),
      (
        ["--sort", "size"], "Please provide one of 'change', 'ratio', 'before', 'after' or 'name'"
      ),
    ])
  func wrong(arguments: [String], message: String) throws {
    let path = try recording()
    let result = try runNopscope(["diff", path, path] + arguments)
    #expect(result.ending == .exit(64))
    #expect(result.standardError.contains(message))
    let none = try runNopscope(["diff", path, path + "-none"])
    #expect(none.ending == .exit(1))
    #expect(none.standardError.contains("\(path)-none: cannot open"))
  }
}
