// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

/// What `report`, `graph` and `record` say and how they end where something is missing or beyond a
/// limit.
@Suite struct ReportLimitTests {
  private static func recording(
    _ tracer: String = "function_graph", options: String = "{}"
  ) throws -> String {
    let base: UInt64 = 1_000_000
    let chunk = SyntheticChunk { encoder in
      encoder.entry(0, at: base)
      encoder.call(1, from: base + 10, to: base + 1510)
      encoder.call(2, from: base + 2000, to: base + 2100)
      encoder.exit(at: base + 20_000)
    }
    let module = SyntheticModule("/bin/x", functions: ["main", "_ZN3one3twoEv", "short"])
    var recording = SyntheticRecording(
      tracer: tracer, processes: [SyntheticProcess(modules: [module], chunks: [chunk])])
    recording.options = options
    return try recording.write()
  }

  @Test(
    "--fail-if ends with 3 where a function is beyond the limit, and names it",
    arguments: [
      ("one::two.max>1us", "one::two: max is 1.500 us"), ("one::*.self>1499ns", "self is 1.500 us"),
      ("main.self%>50", "main: self% is 92.0%"), ("*.calls<2", "short: calls is 1"),
      ("s*:mod:x.total<1us", "short: total is 100 ns"), ("main.calls%>33.3", "calls% is 33.3%"),
      ("main.max>2ms", nil), ("one::two.avg<1.5us", nil), ("*.calls>1", nil),
    ] as [(String, String?)])
  func failIf(limit: String, line: String?) throws {
    let result = try runNopscope(["report", "--fail-if", limit, try Self.recording()])
    #expect(result.ending == .exit(line == nil ? 0 : 3))
    if let line { #expect(result.standardError.contains("--fail-if '\(limit)': ")) }
    if let line { #expect(result.standardError.contains(line)) }
    #expect(result.output.contains("FUNCTION"))
  }

  @Test(
    "a limit that cannot be understood is an error, and one that fits no function is said",
    arguments: [
      ("main", "expected FUNCTION.COLUMN>VALUE"), ("main.size>1", "expected a column before '>'"),
      ("main.max>1", "expected a time such as 1.5ms, found '1'"),
      ("main.calls>many", "expected a number, found 'many'"),
      (".max>1ms", "expected a function's name"),
    ])
  func wrongLimits(limit: String, message: String) throws {
    let path = try Self.recording()
    let result = try runNopscope(["report", "--fail-if", limit, path])
    #expect(result.ending == .exit(64))
    #expect(result.standardError.contains(message), "\(result.standardError)")
    let none = try runNopscope(["report", "--fail-if", "nobody.calls>1", path])
    #expect(none.ending == .exit(0))
    #expect(none.standardError.contains("no function that was called matches it"))
  }

  @Test("what the options of record left out is said above every table")
  func leftOut() throws {
    let path = try Self.recording(
      options: """
        {"thresholdNanoseconds":5000000,"maximumDepth":3,"filter":["a*","b"],"notrace":["c"],\
        "graph":["handle"],"threads":["worker*"]}
        """)
    for command in ["report", "graph", "replay"] {
      let text = try runNopscope([command, path]).standardError
      for line in [
        "calls shorter than 5.000 ms are not here", "calls deeper than 3 are not here",
        "only functions of --filter 'a*', 'b' are here", "functions of --notrace 'c' are not here",
        "only what 'handle' calls is here", "only threads 'worker*' are here",
      ] {
        #expect(text.contains("\(path): \(line)\n"), "\(command): \(text)")
      }
    }
    #expect(!(try runNopscope(["report", try Self.recording()]).standardError.contains("here")))
  }

  @Test("a recording without a call is no success")
  func empty() throws {
    let module = SyntheticModule("/bin/x", functions: ["main"])
    let path = try SyntheticRecording(
      processes: [SyntheticProcess(modules: [module], chunks: [])]
    ).write()
    for arguments in [["report", path], ["report", "--json", path]] {
      let result = try runNopscope(arguments)
      #expect(result.ending == .exit(1))
      #expect(result.standardError.contains("no call was recorded: nopscope info says"))
    }
  }

  @Test("graph --depth builds no more levels, of events and of call trees")
  func depth() throws {
    let path = try Self.recording()
    let result = try runNopscope(["graph", "--depth", "1", path])
    #expect(
      result.output == """
               CALLS        TOTAL         SELF  FUNCTION
                   1    20.000 us    18.400 us  main

        """)
    #expect(result.standardError.contains("1 outermost call, 1 node;"))
    #expect(try runNopscope(["graph", "--depth", "0", path]).ending == .exit(64))
    let tree = SyntheticChunk(tree: [
      (0, 0, 0), (0, 0, 2), (1, 1, 3), (2, 2, 4), (1, 0, 5),
    ])
    let module = SyntheticModule("/bin/x", functions: ["main", "f", "g"])
    let counted = try SyntheticRecording(
      tracer: "callgraph", processes: [SyntheticProcess(modules: [module], chunks: [tree])]
    ).write()
    #expect(
      try runNopscope(["graph", "--depth", "2", counted]).output == """
               CALLS  FUNCTION
                   5  f
                   2  main
                   3    f

        """)
  }

  @Test("a word that is nearly a command is answered with it")
  func nearly() throws {
    for (word, near) in [("recrod", "record"), ("reprot", "report"), ("grph", "graph")] {
      let result = try runNopscope([word, "x"])
      #expect(result.ending == .exit(127))
      #expect(result.standardError.contains("did you mean nopscope \(near)?"))
    }
    let other = try runNopscope(["no-such-program"])
    #expect(other.ending == .exit(127))
    #expect(!other.standardError.contains("did you mean"))
  }

  @Test("record --require-sites fails where nothing can be traced; --quiet writes no closing line")
  func requireSites() throws {
    let folder = try TemporaryFolder.shared.fresh("quiet")
    let output = folder + "/data"
    for flags in [["--require-sites"], ["--quiet", "--require-sites", "-o", output]] {
      let result = try runNopscope(["record"] + flags + ["-o", output, "--", "/bin/true"])
      #expect(result.ending == .exit(125))
      #expect(result.standardError.contains("--require-sites: no function could be traced"))
    }
    let built = try Fixture(
      .gcc, ["-O1", "-pg"], as: .positionIndependentExecutable,
      source: "int main(void) { return 0; }"
    ).build()
    let program = folder + "/program"
    try ProgramFile.copy(built, to: program)
    let result = try runNopscope(["record", "-q", "--require-sites", "-o", output, program])
    #expect(result.ending == .exit(0))
    #expect(result.standardError == "")
    #expect(try runNopscope(["record", "-o", output, program]).standardError.contains("1 armed"))
  }
}
