// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `--start-on`, `--stop-on`, `--delay`, `--duration`: what is recorded begins later than the program
/// or ends earlier.
@Suite struct GateTests {
  private static let names = [
    "before", "begin_work", "inside", "finish_work", "after", "middle", "thread", "child", "main",
  ]

  private func run(
    _ options: [String], _ variant: Variant = .usual
  ) throws -> TracedRun {
    let program = try Program(source: "phases.c", variant: variant).build()
    let plain = try runChild(program)
    let traced = try TracedRun(program, options: options)
    #expect(traced.result.ending == .exit(7))
    #expect(traced.result.output == plain.output)
    #expect(traced.recording.complaints == [])
    return traced
  }

  private func calls(_ options: [String], _ variant: Variant = .usual) throws -> [String: Int] {
    try run(options, variant).calls.filter { Self.names.contains($0.key) && $0.value > 0 }
  }

  /// Of the first of two rounds.
  static let middle = [
    "begin_work": 1, "middle": 1, "thread": 3, "child": 1, "inside": 320, "finish_work": 1,
  ]

  @Test("from the entry of one function to that of another each call is recorded, no other is")
  func exact() throws {
    #expect(try calls(["--start-on", "begin_work", "--stop-on", "finish_work"]) == Self.middle)
  }

  @Test(
    "so it is with every tracer",
    arguments: everyTracer.map { ["--tracer", $0] } + [
      ["--max-depth", "100"], ["--graph", "*"], ["--thread", "*"], ["--overwrite", "1M"],
    ])
  func tracers(tracer: [String]) throws {
    let found = try calls(tracer + ["--start-on", "begin_*", "--stop-on", "finish_*"])
    #expect(found == Self.middle)
  }

  @Test("and at every kind of call site", arguments: Variant.some)
  func variants(variant: Variant) throws {
    let found = try calls(["--start-on", "begin_work", "--stop-on", "finish_work"], variant)
    #expect(found == Self.middle)
  }

  @Test("a start alone lasts to the end, a stop alone begins with the program")
  func halves() throws {
    var late = Self.middle.mapValues { $0 * 2 }
    late["before"] = 10
    late["after"] = 60
    #expect(try calls(["--start-on", "begin_work"]) == late)
    var early = Self.middle
    early["main"] = 1
    early["before"] = 10
    #expect(try calls(["--stop-on", "finish_work"]) == early)
  }

  @Test("a function that another process enters first begins the recording for all")
  func otherProcess() throws {
    let found = try calls(["--start-on", "child"])
    #expect(found["child"] == 2)
    #expect(found["thread"] == 3)
    #expect(found["inside"] == 20 + 320)
    #expect(found["before"] == 10)
  }

  @Test("a trigger is armed where no filter names it, and not where --notrace does")
  func filtered() throws {
    let options = ["--start-on", "begin_work", "--filter", "inside"]
    #expect(try calls(options) == ["begin_work": 2, "inside": 640])
    let never = try run(options + ["--notrace", "begin_work"])
    #expect(never.calls["inside"] ?? 0 == 0)
    #expect(
      never.result.standardError.hasPrefix(
        "nopscope: --start-on 'begin_work': no call of it was seen, so nothing is recorded: "
          + "nopscope sites lists all names\n"))
  }

  @Test("a stop that never comes is told")
  func noStop() throws {
    let traced = try run(["--stop-on", "no_such"])
    #expect(traced.calls["after"] == 60)
    #expect(
      traced.result.standardError.hasPrefix(
        "nopscope: --stop-on 'no_such': no call of it was seen: all is recorded to the end\n"))
  }

  static let times = [
    ["--delay", "0.5s"], ["--duration", "0.5s"], ["--delay", "300ms", "--duration", "500ms"],
    ["--start-on", "run", "--duration", "0.5s"],
    ["--tracer", "function", "--delay", "300ms", "--duration", "500ms"],
  ]

  @Test("a time begins the recording, and one ends it", arguments: times)
  func timed(options: [String]) throws {
    let traced = try TracedRun(try Program(source: "ticks.c").build(), options: options)
    #expect(traced.result.ending == .exit(0))
    #expect(traced.recording.complaints == [])
    let all = try #require(statedCalls(traced.result.output)["tick"])
    let recorded = traced.calls["tick"] ?? 0
    #expect(recorded > 0)
    #expect(recorded < all)
  }

  @Test("a delay longer than the program leaves nothing, and says so")
  func tooLate() throws {
    let traced = try run(["--delay", "1000s"])
    #expect(traced.calls.values.allSatisfy { $0 == 0 })
    #expect(
      traced.result.standardError.hasPrefix(
        "nopscope: --delay: the program ended before it was over, so nothing is recorded\n"))
  }

  @Test("a start function does not count while the delay lasts")
  func delayFirst() throws {
    let traced = try run(["--delay", "1000s", "--start-on", "begin_work"])
    #expect(traced.calls.values.allSatisfy { $0 == 0 })
  }
}
