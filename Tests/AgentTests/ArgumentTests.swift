// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `record --args`: what a program says of its own calls is what the replay shows of them.
@Suite struct ArgumentTests {
  /// The calls that a replay shows, with their results, without those of other functions.
  static func calls(_ folder: String, of functions: Set<String>? = nil) throws -> [String] {
    let run = try runNopscope(["replay", folder])
    #expect(run.ending == .exit(0))
    var open: [String: [String]] = [:]
    var calls: [String] = []
    for line in run.output.split(separator: "\n").dropFirst() {
      // SECONDS  THREAD  [DURATION UNIT]  CALL
      var words = line.split(separator: " ", omittingEmptySubsequences: true)[...]
      guard words.count > 2 else { continue }
      let thread = String(words[words.startIndex + 1])
      words = words.dropFirst(2)
      let units: Set<Substring> = ["ns", "us", "ms", "s"]
      if words.count > 2, units.contains(words[words.startIndex + 1]) { words = words.dropFirst(2) }
      // The text itself may have several blanks side by side.
      guard let first = words.first else { continue }
      var text = String(line[first.startIndex...])
      if let comment = text.range(of: "  /* off the CPU ") {
        text = String(text[..<comment.lowerBound])
      }
      if text.hasSuffix(" {") {
        open[thread, default: []].append(String(text.dropLast(2)))
      } else if text.hasPrefix("}") {
        let call = open[thread]?.popLast() ?? "?"
        let isUnwound = text.hasSuffix(" unwound */")
        calls.append(call + (isUnwound ? "" : text.dropFirst()))
      } else if text.hasSuffix(";") {
        calls.append(String(text.dropLast()))
      }
    }
    guard let functions else { return calls.sorted() }
    return calls.filter { functions.contains(String($0.prefix { $0 != "(" })) }.sorted()
  }

  /// Records a program that says its calls, and compares.
  @discardableResult
  private func compare(
    _ program: String, _ arguments: [String], options: [String],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> TracedRun {
    let traced = try TracedRun(program, arguments, options: options)
    #expect(traced.result.ending == .exit(0), "\(traced.result)", sourceLocation: sourceLocation)
    #expect(traced.recording.complaints == [], sourceLocation: sourceLocation)
    let said = traced.result.output.split(separator: "\n").map(String.init).sorted()
    let names = Set(said.map { String($0.prefix { $0 != "(" }) })
    let shown = try Self.calls(traced.folder, of: names)
    #expect(!said.isEmpty, sourceLocation: sourceLocation)
    #expect(shown == said, sourceLocation: sourceLocation)
    return traced
  }

  private static let ways = [
    "numbers", "structs", "texts", "threads", "handler", "no reading", "no signals", "child",
  ]

  @Test("what a program in C says of its calls is what is shown", arguments: ways)
  func ofC(way: String) throws {
    let program = try Program(source: "arguments.c", variant: .fentry).build()
    let traced = try compare(program, [way], options: ["--args", "*"])
    let report = traced.result.standardError
    #expect(!report.contains("--args"), "\(report)")
  }

  @Test("the registers are as at the entry in every form of call site", arguments: Variant.all)
  func everyVariant(variant: Variant) throws {
    let isBehind = variant.instrumentation == ["-pg"]
    let program = try Program(
      source: "arguments.c", variant: variant, extra: isBehind ? ["-DBEHIND_PROLOGUE"] : []
    ).build()
    for way in ["numbers", "structs"] { try compare(program, [way], options: ["--args", "*"]) }
  }

  @Test("strings, references, classes and exceptions of C++", arguments: Variant.some)
  func ofCxx(variant: Variant) throws {
    let program = try Program(
      source: "arguments.cpp", variant: variant, extra: ["-gdwarf-5"]
    ).build()
    try compare(program, [], options: ["--args", "*"])
  }

  /// gcc makes copies with other names, clang changes the function itself.
  @Test(
    "parameters that an optimizer has changed are not known", arguments: [Variant.fentry, .clang])
  func clones(variant: Variant) throws {
    let program = try Program(source: "clones.c", variant: variant, extra: ["-O3"]).build()
    let traced = try TracedRun(program, [], options: ["--args", "*"])
    let said = Set(traced.result.output.split(separator: "\n").map(String.init))
    let shown = try Self.calls(traced.folder).filter { !$0.hasPrefix("main") }
    #expect(shown.count == 9, "\(shown)")
    for call in shown {
      let name = call.prefix { $0 != "(" && $0 != "." }
      let values = call.drop { $0 != "(" }
      let isUnknown = values.split(separator: "=").dropFirst().allSatisfy { $0.contains("?") }
      #expect(isUnknown || said.contains("\(name)\(values)"), "\(call)")
    }
  }

  @Test(
    "libc++'s strings are read, too",
    .enabled(if: UnwinderTests.hasLibcxx, "libc++'s headers are not here: apt install libc++-dev"))
  func ofLibcxx() throws {
    let program = try Program(
      source: "arguments.cpp", variant: .clang, extra: ["-gdwarf-5", "-stdlib=libc++"]
    ).build()
    try compare(program, [], options: ["--args", "*"])
  }

  @Test("libc++'s strings are read where they are spelled out")
  func spelledLibcxx() throws {
    let program = try Program(source: "arguments.c").build()
    let options = ["--args", "counted(std::__1::string string, int n) -> int"]
    try compare(program, ["libcxx"], options: options)
  }

  @Test("a library that is loaded twice has its signatures both times")
  func plugin() throws {
    let library = try Fixture(
      .gcc, ["-O1", "-pg", "-g"],
      source: "int plugged(int n, const char *s) { return s ? n + 1 : n; }"
    ).build()
    let program = try Program(source: "arguments.c").build()
    try compare(program, ["plugin", library], options: ["--args", "plugged"])
  }

  /// The rules name another function of it by its second path.
  @Test("a library that comes by two paths has what the rules say of each")
  func twoPaths() throws {
    let library = try Fixture(
      .gcc, ["-O1", "-pg", "-g"],
      source: """
        __attribute__((noinline)) int other(int m) { return m + 5; }
        int plugged(int n, const char *s) { return s ? other(n) - 4 : n; }
        """
    ).build()
    let copy = try TemporaryFolder.shared.fresh("copy") + "/libcopy.so"
    try ProgramFile.copy(library, to: copy)
    let program = try Program(source: "arguments.c").build()
    let traced = try TracedRun(
      program, ["plugins", library, copy],
      options: ["--args", "plugged:mod:\(library)", "--args", "other:mod:\(copy)"])
    #expect(traced.result.ending == .exit(0))
    #expect(
      try Self.calls(traced.folder, of: ["plugged", "other"]) == [
        "other(m=0) = 5", "other(m=?) = ?", #"plugged(n=0, s="in a plugin") = 1"#,
        "plugged(n=?, s=?) = ?",
      ])
  }

  @Test("functions without DWARF are spelled out, or a line says what is missing")
  func spelledOut() throws {
    let program = try Program(source: "arguments.c", extra: ["-g0"]).build()
    let spelled = "unnamed(int a, int b) -> int"
    try compare(
      program, ["handler"],
      options: ["--args", "*", "--args", spelled, "--args", "text(char *t) -> char *"])
    let traced = try TracedRun(
      program, ["handler"], options: ["--args", "text", "--args", "nosuch"])
    let said = traced.result.standardError
    #expect(
      said.contains(
        "\(program): no DWARF: no arguments of the functions that --args names: compile with -g, or spell "
          + "them out: --args 'f(int id, char *name) -> int'"), "\(said)")
    #expect(said.contains("--args 'nosuch': no function that can be traced matches it"), "\(said)")
    #expect(try Self.calls(traced.folder, of: ["text"]) == ["text()"])
  }

  @Test("a function that no filter names is recorded; one that --notrace names is not")
  func armed() throws {
    let program = try Program(source: "arguments.c").build()
    let options = [
      "--filter", "main", "--args", "unnamed", "--args", "text", "--args", "!text", "--args",
      "handle",
      "--notrace", "handle",
    ]
    let traced = try TracedRun(program, ["handler"], options: options)
    let calls = try Self.calls(traced.folder)
    #expect(calls.map { $0.prefix { $0 != "=" && $0 != ")" } } == ["unnamed(a"])
  }

  @Test("a slow call is kept with its arguments, and other functions are not timed for them")
  func withSnapshots() throws {
    let program = try Program(source: "slow_requests.c", extra: ["-g"]).build()
    let options = [
      "--overwrite", "64K", "--snapshot-on", "handle_*>300ms", "--args", "handle_*", "--args",
      "nap",
    ]
    let traced = try TracedRun(program, ["one"], options: options)
    let folders = try FileManager.default.contentsOfDirectory(atPath: traced.folder)
    #expect(folders.filter { $0.hasPrefix("snapshot-") } == ["snapshot-1"])
    let calls = try Self.calls(traced.folder + "/snapshot-1", of: ["handle_request", "nap"])
    #expect(calls.contains { $0.hasPrefix("handle_request(") && $0.contains("=") }, "\(calls)")
  }

  /// `nap` takes 500 ms, and is recorded with values alone.
  @Test("only the functions of --snapshot-on are timed")
  func timed() throws {
    let program = try Program(source: "slow_requests.c", extra: ["-g"]).build()
    let options = ["--overwrite", "16M", "--snapshot-on", "nosuch>1ms", "--args", "nap"]
    let traced = try TracedRun(program, ["one"], options: options)
    let folders = try FileManager.default.contentsOfDirectory(atPath: traced.folder)
    #expect(!folders.contains { $0.hasPrefix("snapshot-") }, "\(folders)")
    #expect(try Self.calls(traced.folder, of: ["nap"]).count == 1)
  }

  @Test("functions that were called behind values have their source lines")
  func sourceLines() throws {
    let program = try Program(source: "arguments.c").build()
    let traced = try TracedRun(program, ["numbers"], options: ["--args", "*"])
    let report = try jsonObject(
      try runNopscope(["report", "--json", traced.folder]).standardOutput)
    let rows = try #require(report["functions"] as? [[String: Any]])
    for name in ["ints", "upper"] {
      let row = try #require(rows.first { $0["function"] as? String == name })
      #expect(row["sourceLine"] is Int, "\(name)")
    }
  }

  @Test("slow shows the slow call's arguments and result, for people and as JSON")
  func slow() throws {
    let program = try Program(source: "arguments.c").build()
    let traced = try TracedRun(program, ["numbers"], options: ["--args", "*"])
    let text = try runNopscope(["slow", "upper", "-n", "2", traced.folder]).output
    #expect(text.contains("upper(c='a') = 'A'") && text.contains("upper(c='*') = '\\n'"), "\(text)")
    let json = try runNopscope(["slow", "stacked", "--json", traced.folder])
    let slowest = try #require(try jsonObject(json.standardOutput)["slowest"] as? [[String: Any]])
    let arguments = try #require(slowest.first?["arguments"] as? [[String: Any]])
    #expect(arguments.prefix(2).map { $0["value"] as? Int } == [1, -2])
    #expect(arguments.last?["name"] as? String == "j")
    #expect(arguments.last?["value"] as? String == "ten")
    #expect(slowest.first?["result"] is Int)
  }

  @Test("ftrace's text stays as it is")
  func ftrace() throws {
    let program = try Program(source: "arguments.c").build()
    let traced = try TracedRun(program, ["numbers"], options: ["--args", "*"])
    let text = try runNopscope(["replay", "--ftrace", traced.folder]).output
    #expect(text.contains("upper();") && !text.contains("c='a'"))
  }

  /// Threads without an rseq area have their events stored by C alone.
  @Test("arguments are recorded where threads have no rseq area")
  func withoutRseq() throws {
    let program = try Program(source: "arguments.c").build()
    let traced = try TracedRun(
      program, ["numbers"], options: ["--args", "*"],
      environment: ["GLIBC_TUNABLES": "glibc.pthread.rseq=0"])
    #expect(
      try Self.calls(traced.folder, of: ["upper"]) == [
        "upper(c='*') = '\\n'", "upper(c='a') = 'A'",
      ])
  }
}
