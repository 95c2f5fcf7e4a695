// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `report`, `replay`, `graph` and `info`, as a user runs them.
@Suite struct ReadingCommandTests {
  private static let base: UInt64 = 1_000_000

  private static func recording(_ functions: [String] = ["main", "_ZN3one3twoEv", ""]) throws
    -> String
  {
    let chunk = SyntheticChunk { encoder in
      encoder.entry(0, at: base)
      encoder.call(1, from: base + 10, to: base + 1510)
      encoder.call(2, from: base + 2000, to: base + 2100)
      encoder.exit(at: base + 20_000)
    }
    let module = SyntheticModule("/bin/x", functions: functions)
    let process = SyntheticProcess(modules: [module], chunks: [chunk])
    return try SyntheticRecording(processes: [process]).write()
  }

  @Test("report --json is the documented schema, key by key, null where nothing is known")
  func reportJSON() throws {
    let result = try runNopscope(["report", try Self.recording(), "--json"])
    #expect(result.ending == .exit(0))
    #expect(result.standardError == "")
    let document = try jsonObject(result.standardOutput)
    #expect(
      Set(document.keys) == ["schema", "functions", "open", "threads", "lostEvents", "corrupted"])
    #expect(document["schema"] as? String == "nopscope.report/1")
    #expect(document["threads"] as? Int == 1)
    #expect(document["lostEvents"] as? Int == 0)
    #expect(document["corrupted"] as? Bool == false)
    let functions = try #require(document["functions"] as? [[String: Any]])
    #expect(functions.count == 3)
    let two = try #require(functions.first { $0["function"] as? String == "one::two" })
    #expect(
      Set(two.keys) == [
        "function", "linkedName", "module", "generation", "loads", "offset", "calls",
        "totalNanoseconds", "selfNanoseconds",
        "averageNanoseconds", "minimumNanoseconds", "maximumNanoseconds", "p50Nanoseconds",
        "p99Nanoseconds", "varianceSquareNanoseconds", "waitNanoseconds", "sourceFile",
        "sourceLine",
      ])
    #expect(two["totalNanoseconds"] as? Int == 1500)
    #expect(two["module"] as? String == "/bin/x")
    #expect(two["linkedName"] as? String == "_ZN3one3twoEv")
    #expect(two["varianceSquareNanoseconds"] is NSNull)
    let nameless = try #require(functions.first { $0["function"] is NSNull })
    #expect(nameless["offset"] as? Int == 0x1020)
  }

  @Test("report is a table with a closing line; --sort and --limit order and cut it")
  func reportText() throws {
    let path = try Self.recording()
    let result = try runNopscope(["report", path])
    #expect(
      result.output == """
        SELF%       SELF      TOTAL  CALLS        AVG        P99        MAX  FUNCTION
        92.0%  18.400 us  20.000 us      1  20.000 us  20.000 us  20.000 us  main
         7.5%   1.500 us   1.500 us      1   1.500 us   1.500 us   1.500 us  one::two
         0.5%     100 ns     100 ns      1     100 ns     100 ns     100 ns  x+0x1020

        """)
    #expect(result.standardError == "3 calls of 3 functions in 1 thread; 0 events lost\n")
    let sorted = try runNopscope(["report", path, "--sort", "name", "--limit", "1"])
    #expect(sorted.output.split(separator: "\n").last?.hasSuffix("  main") == true)
  }

  @Test("info --json is the documented schema")
  func infoJSON() throws {
    let path = try Self.recording()
    let document = try jsonObject(try runNopscope(["info", path, "--json"]).standardOutput)
    #expect(
      Set(document.keys) == [
        "schema", "command", "tracer", "ended", "exitStatus", "calls", "callsAreEstimated", "bytes",
        "bytesPerCall",
        "lostEvents", "corrupted", "processes", "modules", "notes", "missing",
      ])
    #expect(document["schema"] as? String == "nopscope.info/1")
    #expect(document["calls"] as? Int == 3)
    #expect(document["bytes"] as? Int == 8192)
    #expect(document["command"] as? [String] == ["./program", "argument"])
    #expect(document["tracer"] as? String == "function_graph")
    #expect(document["ended"] as? Bool == true && document["exitStatus"] as? Int == 0)
    let processes = try #require(document["processes"] as? [[String: Any]])
    #expect(processes.map { $0["pid"] as? Int } == [4711])
    let threads = try #require(processes.first?["threads"] as? [[String: Any]])
    #expect(threads.map { $0["name"] as? String } == ["program"])
    let modules = try #require(document["modules"] as? [[String: Any]])
    #expect(
      modules.map { Set($0.keys) } == [
        [
          "path", "buildID", "generation", "sites", "armed", "unwanted", "notArmed", "unknown",
          "skipped", "skippedReasons", "status",
        ]
      ])
  }

  @Test("info has the loads of one file in one line, unless they differ")
  func infoOfLoads() throws {
    let modules = (0..<5).map { index in
      var module = SyntheticModule(
        "/lib/p.so", firstFunction: UInt32(index), functions: ["f"])
      module.generation = index + 1
      if index == 4 { module.status = "left alone" }
      if index == 4 { module.armed = 0 }
      return module
    }
    let chunk = SyntheticChunk { $0.call(0, from: 1_000_001, to: 1_000_009) }
    let path = try SyntheticRecording(
      processes: [SyntheticProcess(modules: modules, chunks: [chunk])]
    ).write()
    let lines = try runNopscope(["info", path]).output.split(separator: "\n")
      .filter { $0.hasPrefix("module") }
    #expect(lines.count == 2)
    #expect(lines.first?.contains(", 4 loads, build-id") == true)
    #expect(lines.last?.contains(", generation 5, build-id") == true)
  }

  @Test("info says of a process that did not end in exit() what may have ended it")
  func infoOfAnOpenProcess() throws {
    var process = SyntheticProcess(modules: [SyntheticModule("/bin/x", functions: ["main"])])
    let closed = try SyntheticRecording(processes: [process]).write()
    process.flags = 0
    let open = try SyntheticRecording(processes: [process]).write()
    #expect(!(try runNopscope(["info", closed]).output.contains("not closed")))
    let text = try runNopscope(["info", open]).output
    #expect(text.contains("not closed: it ended by _exit, exec or a signal, or still runs"))
  }

  @Test(
    "processes of one program are told apart by their arguments, which cannot drive the terminal")
  func infoOfArguments() throws {
    let all: [[String]?] = [
      ["sh", "-c", "make all"], ["sh", "a\u{1b}[31m\u{10fffe}", ""],
      ["sh", String(repeating: "x", count: 300)], ["sh"], nil,
    ]
    let processes = all.enumerated().map { index, arguments in
      var process = SyntheticProcess(
        modules: [SyntheticModule("/bin/sh", functions: ["main"])],
        chunks: [SyntheticChunk { $0.call(0, from: 1_000_001, to: 1_000_101 - UInt64(index)) }])
      process.pid = Int32(100 + index)
      process.program = "/bin/sh"
      process.arguments = arguments
      return process
    }
    let path = try SyntheticRecording(processes: processes).write()
    let shown = [
      "/bin/sh -c 'make all'", "/bin/sh a\\x1b[31m\\xfe ''",
      "/bin/sh " + String(repeating: "x", count: 199) + "…", "/bin/sh", "/bin/sh",
    ]
    let lines = try runNopscope(["info", path]).output.split(separator: "\n")
      .filter { $0.hasPrefix("process") }
    for (index, text) in shown.enumerated() {
      #expect(lines[index].contains(" \(100 + index)-0 \(text): 1 thread"), "\(lines[index])")
    }
    let document = try jsonObject(try runNopscope(["info", path, "--json"]).standardOutput)
    let found = try #require(document["processes"] as? [[String: Any]])
    #expect(found.map { $0["arguments"] as? [String] } == all)
    let table = try runNopscope(["report", path, "--by", "process"]).output
    #expect(
      table.split(separator: "\n").dropFirst().map { $0.components(separatedBy: "  ").last }
        == shown.map { $0.replacing("/bin/", with: "") })
    let groups = try jsonObject(
      try runNopscope(["report", path, "--by", "process", "--json"]).standardOutput)
    #expect((groups["groups"] as? [[String: Any]])?.map { $0["arguments"] as? [String] } == all)
  }

  @Test(
    "--names says how functions are named, in every command that reads a recording",
    arguments: [
      ["report"], ["replay"], ["graph"], ["slow", "one::two"], ["diff"],
      ["export", "--format", "folded"], ["export", "--format", "chrome"],
    ])
  func names(command: [String]) throws {
    let path = try Self.recording()
    let recordings = command == ["diff"] ? [path, path] : [path]
    for (style, name) in [
      ("short", "one::two"), ("full", "one::two()"), ("linked", "_ZN3one3twoEv"),
    ] {
      let result = try runNopscope(command + recordings + ["--names", style])
      #expect(result.ending == .exit(0))
      #expect(result.output.contains(name))
      #expect(result.output.contains("_ZN3one3twoEv") == (style == "linked"))
      // A replay has parentheses of its own.
      if style == "short", command != ["replay"] { #expect(!result.output.contains("two()")) }
    }
    let wrong = try runNopscope(command + recordings + ["--names", "long"])
    #expect(wrong.ending == .exit(64))
    #expect(wrong.standardError.contains("'short', 'full' or 'linked'"))
  }

  @Test("graph --minimum leaves out functions with less than this percentage of all time")
  func graphMinimum() throws {
    let path = try Self.recording()
    func functions(_ least: String) throws -> [String] {
      let lines = try runNopscope(["graph", path, "--minimum", least]).output.split(separator: "\n")
      return lines.dropFirst().compactMap { $0.split(separator: " ").last.map(String.init) }
    }
    #expect(try functions("0") == ["main", "one::two", "x+0x1020"])
    #expect(try functions("1") == ["main", "one::two"])
    #expect(try functions("10") == ["main"])
  }

  @Test("graph shows the tree, and as JSON with its schema")
  func graph() throws {
    let path = try Self.recording()
    let text = try runNopscope(["graph", path])
    #expect(
      text.output == """
               CALLS        TOTAL         SELF  FUNCTION
                   1    20.000 us    18.400 us  main
                   1     1.500 us     1.500 us    one::two
                   1       100 ns       100 ns    x+0x1020

        """)
    let document = try jsonObject(try runNopscope(["graph", path, "--json"]).standardOutput)
    #expect(document["schema"] as? String == "nopscope.graph/1")
    let root = try #require(document["tree"] as? [String: Any])
    let main = try #require((root["children"] as? [[String: Any]])?.first)
    #expect((main["children"] as? [[String: Any]])?.count == 2)
  }

  @Test(
    "a name with control characters cannot drive the terminal",
    arguments: ["report", "replay", "graph"])
  func hostileNames(command: String) throws {
    let path = try Self.recording(["\u{1b}[2Jmain", "f", "g"])
    let result = try runNopscope([command, path])
    #expect(result.output.contains("\\x1b[2Jmain"))
    #expect(!result.output.contains("\u{1b}"))
  }

  @Test(
    "no recording is one clear line and status 1", arguments: ["report", "replay", "graph", "info"])
  func missing(command: String) throws {
    let path = try TemporaryFolder.shared.fresh("nothing")
    let result = try runNopscope([command, path])
    #expect(result.ending == .exit(1))
    #expect(result.output == "")
    #expect(
      result.standardError
        == "nopscope: \(path): expected a recording, found no PID-N.events file: "
        + "did the program start, and is it instrumented? See nopscope doctor PROGRAM\n")
  }

  @Test("damage anywhere in the events crashes no command")
  func damage() throws {
    let path = try Self.recording()
    let name = path + "/4711-0.events"
    let bytes = try Data(contentsOf: URL(fileURLWithPath: name))
    var generator = SeededGenerator(seed: UInt64.random(in: 0...UInt64.max))
    print("damage: seed \(generator.seed)")
    let places = Array(4096..<4200)
    for _ in 0..<8 {
      var damaged = bytes
      for _ in 0..<3 {
        damaged[places.randomElement(using: &generator) ?? 0] = .random(
          in: 0...255, using: &generator)
      }
      try damaged.write(to: URL(fileURLWithPath: name))
      for command in ["report", "replay", "graph", "info"] {
        let result = try runNopscope([command, path])
        #expect([0, 1].contains(result.exitStatus), "\(command): \(result.ending)")
      }
    }
  }
}
