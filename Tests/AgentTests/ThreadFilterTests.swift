// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `--thread`: what is not wanted records nothing, what is wanted records all.
@Suite struct ThreadFilterTests {
  private static let names = [
    "one", "two", "idle", "early", "late", "before", "after", "unnamed", "renamed", "of_main",
    "of_child", "of_named_child", "outer", "inner",
  ]

  /// Calls of the functions that the program counts.
  private func calls(_ options: [String], _ variant: Variant = .usual) throws -> [String: Int] {
    let program = try Program(source: "named_threads.c", variant: variant).build()
    let traced = try TracedRun(program, options: options)
    #expect(traced.result.ending == .exit(0))
    #expect(traced.recording.complaints == [])
    return traced.calls.filter { Self.names.contains($0.key) && $0.value > 0 }
  }

  static let workers = [
    "one": 100, "early": 50, "after": 70, "renamed": 60, "of_named_child": 10, "outer": 1,
    "inner": 1,
  ]

  static let tracers: [[String]] = [
    [], ["--tracer", "function"], ["--tracer", "hits"], ["--tracer", "callgraph"],
    ["--tracer", "profile"], ["--max-depth", "100"], ["--graph", "*"],
  ]

  @Test("threads are chosen by name, from the moment that it changes", arguments: tracers)
  func chosen(tracer: [String]) throws {
    let found = try calls(tracer + ["--thread", "worker*", "--thread", "!worker-2"])
    #expect(found == Self.workers)
  }

  @Test("so they are at every kind of call site", arguments: Variant.some)
  func variants(variant: Variant) throws {
    #expect(try calls(["--thread", "worker*", "--thread", "!worker-2"], variant) == Self.workers)
  }

  @Test("the main thread has the program's name; a rule that removes leaves the others")
  func others() throws {
    #expect(
      try calls(["--thread", "named_threads"]) == ["unnamed": 65, "of_main": 30, "of_child": 20])
    var rest = [
      "idle": 80, "before": 75, "late": 45, "unnamed": 65, "of_main": 30, "of_child": 20,
    ]
    rest["inner"] = 1
    #expect(try calls(["--tracer", "hits", "--thread", "!worker*"]) == rest)
    #expect(try calls(["--thread", "nobody"]) == [:])
  }

  @Test("without a filter handlers are called directly, with one through the thread filter entry")
  func everyThread() throws {
    let all = try calls(["--tracer", "hits"])
    #expect(all == (try calls(["--tracer", "hits", "--thread", "*"])))
    #expect(all.count == Self.names.count)
  }

  struct Match: Sendable, CustomStringConvertible {
    var pattern, name: String
    var isMatch: Bool
    var description: String { "\(pattern) \(isMatch ? "is" : "is not") \(name)" }
  }

  @Test("patterns are those of function filters", arguments: matches)
  func patterns(one: Match) throws {
    let program = try Program(source: "one_name.c").build()
    let traced = try TracedRun(
      program, [one.name], options: ["--tracer", "hits", "--thread", one.pattern])
    #expect((traced.calls["call"] ?? 0) == (one.isMatch ? 1 : 0))
  }

  static let matches: [Match] = [
    ("worker", "worker", true), ("worker", "worker1", false), ("work?r", "worker", true),
    ("work?r", "workr", false), ("*k*r", "worker", true), ("*k*x", "worker", false),
    ("[a-w]orker", "worker", true), ("[x-z]orker", "worker", false),
    ("[!x]orker", "worker", true), ("[!w]orker", "worker", false), ("[]w]orker", "worker", true),
    ("a[b", "a[b", true), ("a\\*b", "a*b", true), ("a\\*b", "axb", false), ("*", "worker", true),
    ("fifteen-bytes-a", "fifteen-bytes-and-more", true), ("[a-]x", "-x", true),
    ("w**r", "worker", true), ("w*\\", "work\\", true),
  ].map { Match(pattern: $0.0, name: $0.1, isMatch: $0.2) }

  @Test("the functions of libc that change names do what they do, errno included")
  func transparent() throws {
    let program = try Program(source: "names_of_libc.c").build()
    let plain = try runChild(program)
    #expect(plain.output.contains("too long: 34, errno 7\n"))
    #expect(plain.output.contains("bad address: -1, errno 14\n"))
    #expect(plain.output.contains("unknown: -1, errno 22\n"))
    for options in [[], ["--thread", "fifteen*"]] {
      let traced = try TracedRun(program, options: options)
      #expect(traced.result.output == plain.output)
    }
    // Preloaded without a recorder too.
    let alone = try runChild(program, environment: ["LD_PRELOAD": AgentFileTests.agent])
    #expect(alone.output == plain.output)
  }
}
