// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Calls by function, as valgrind's callgrind saw them: it runs the same file on a simulated
/// processor and knows nothing of call sites.
private func callgrindCalls(_ program: String, _ arguments: [String] = []) throws -> [String: Int] {
  let out = try TemporaryFolder.shared.fresh("callgrind") + "/out"
  let valgrind = try #require(Tools.find("valgrind"), "valgrind is not installed")
  // The agent without a recorder does nothing but keep gprof's timer off, which ends valgrind.
  // Its debug information is newer than valgrind.
  let agent = out + ".agent.so"
  try Tools.run("objcopy", ["--strip-debug", AgentFileTests.agent, agent])
  let result = try runChild(
    valgrind,
    [
      "--tool=callgrind", "--callgrind-out-file=\(out)", "--compress-strings=no", "-q", program,
    ] + arguments, environment: ["LD_PRELOAD": agent])
  try #require(result.ending == .exit(0), "\(result.standardError)")
  var calls: [String: Int] = [:]
  var called = ""
  for line in try String(contentsOfFile: out, encoding: .utf8).split(separator: "\n") {
    if line.hasPrefix("cfn=") {
      called = String(line.dropFirst(4))
    } else if line.hasPrefix("calls="), let count = Int(line.dropFirst(6).prefix { $0 != " " }) {
      calls[String(called.prefix { $0 != "'" }), default: 0] += count
    }
  }
  return calls
}

@Suite struct CountTests {
  @Test("Calls are counted as callgrind counts them", arguments: Variant.some)
  func counts(variant: Variant) throws {
    let program = try Program(source: "calls.c", variant: variant).build()
    let expected = try callgrindCalls(program)
    let traced = try TracedRun(program)
    for name in ["fibonacci", "order", "twice", "apply", "even", "odd", "sum_of", "square"] {
      #expect(traced.calls[name] == expected[name], "\(name)")
    }
    #expect((traced.calls["fibonacci"] ?? 0) > 1000)
  }

  @Test(
    "The tracers agree with one another", arguments: ["function", "callgraph", "profile", "hits"])
  func tracers(tracer: String) throws {
    let program = try Program(source: "calls.c").build()
    let graph = try TracedRun(program)
    let other = try TracedRun(program, options: ["--tracer", tracer])
    #expect(other.calls == graph.calls)
  }

  @Test(
    "The tracer function tells who called, while a signal's handler calls the same",
    arguments: [
      Variant.usual, Variant.patchable,
      Variant(compiler: .gcc, level: "-O2", instrumentation: Variant.kinds[1]),
    ])
  func callers(variant: Variant) throws {
    let program = try Program(source: "callers.c", variant: variant).build()
    let traced = try TracedRun(program, options: ["--tracer", "function"])
    try #require(traced.result.ending == .exit(0))
    #expect(traced.recording.complaints.prefix(3) == [])
    let text = try runNopscope(["replay", traced.folder]).output
    var seen: [Substring: Int] = [:]
    for line in text.split(separator: "\n") {
      // `task [cpu] time: function <-caller`
      guard let arrow = line.range(of: " <-") else { continue }
      let function = line[..<arrow.lowerBound].split(separator: " ").last ?? ""
      seen[function + " " + line[arrow.upperBound...], default: 0] += 1
    }
    for line in traced.result.output.split(separator: "\n") where line.hasPrefix("pair ") {
      let words = line.split(separator: " ")
      #expect(seen["\(words[1]) \(words[2])"] == Int(words[3]), "\(line)")
    }
    // In full, an entry and its caller take 16 bytes.
    let size = try #require(
      try FileManager.default.attributesOfItem(
        atPath: traced.folder + "/" + traced.recording.processes[0].stem + ".events")[.size]
        as? Int)
    #expect(size < 4 * traced.recording.processes[0].entries)
  }
}

/// What a filter leaves out is a nop: no event, no count, no hooked return.
@Suite struct FilterTests {
  struct Case: Sendable, CustomStringConvertible {
    var options: [String]
    var calls: [String: Int]
    var description: String { options.joined(separator: " ") }
  }

  @Test("Only what is wanted is recorded", arguments: filterCases)
  func filters(one: Case) throws {
    let program = try Program(source: "calls.c", variant: Variant.all[0]).build()
    let traced = try TracedRun(program, options: one.options)
    #expect(traced.result.ending == .exit(0))
    #expect(traced.calls == one.calls)
    #expect(traced.recording.complaints == [])
  }
}

private let filterCases: [FilterTests.Case] = [
  .init(options: ["--filter", "twice"], calls: ["twice": 20]),
  .init(options: ["--filter", "tw*", "--filter", "apply"], calls: ["twice": 20, "apply": 10]),
  .init(options: ["--filter", "*", "--notrace", "[!t]*"], calls: ["twice": 20]),
  .init(options: ["--filter", ":mod:libnothing"], calls: [:]),
  .init(options: ["--max-depth", "1"], calls: ["main": 1]),
  .init(options: ["--graph", "apply"], calls: ["apply": 10, "twice": 20]),
  .init(options: ["--threshold", "1s"], calls: [:]),
]
