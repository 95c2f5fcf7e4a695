// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

private let ways = [
  "generators", "nested", "symmetric", "destroyed", "unmapped", "copied", "jumps", "handlers",
  "deep",
]

/// Several stacks in one thread: programs run as alone, each call is one of its own stack, and no time
/// is counted twice.
@Suite struct StackTests {
  private struct Row {
    var calls: Int
    var total: Int
    var own: Int
  }

  private func report(_ folder: String) throws -> [String: Row] {
    let result = try runNopscope(["report", "--json", folder])
    #expect(result.ending == .exit(0))
    let document = try jsonObject(result.standardOutput)
    let functions = try #require(document["functions"] as? [[String: Any]])
    return functions.reduce(into: [:]) { rows, one in
      guard let name = one["function"] as? String, let calls = one["calls"] as? Int else { return }
      rows[name] = Row(
        calls: calls, total: one["totalNanoseconds"] as? Int ?? 0,
        own: one["selfNanoseconds"] as? Int ?? 0)
    }
  }

  private func check(
    _ how: String, _ rounds: Int, _ options: [String] = [], _ manner: Manner = Manner()
  ) throws -> TracedRun {
    let program = try Program(source: "stacks.c", variant: manner.variant).build()
    let plain = try runChild(program, [how, "\(rounds)"])
    #expect(plain.ending == .exit(3))
    let traced = try TracedRun(
      program, [how, "\(rounds)"], options: manner.options + options)
    #expect(traced.result.ending == plain.ending)
    #expect(traced.result.output == plain.output)
    #expect(traced.recording.complaints.prefix(3) == [])
    #expect(traced.recording.lostEvents == 0)
    let stated = statedCalls(traced.result.standardError)
    #expect(stated.count == 7)
    for (name, count) in stated { #expect(traced.calls[name, default: 0] == count, "\(name)") }
    return traced
  }

  @Test(
    "Programs with several stacks run as alone, and every call is counted", arguments: ways,
    Manner.some)
  func counts(how: String, manner: Manner) throws {
    let traced = try check(how, 2000, [], manner)
    guard manner.tracer == "function_graph" else { return }
    let rows = try report(traced.folder)
    let main = try #require(rows["main"])
    // All own times together are no longer than the thread ran.
    #expect(rows.values.reduce(0) { $0 + $1.own } <= main.total + main.total / 100)
    // It was on other stacks.
    #expect(traced.recording.switches > 1000)
    if how != "jumps" && how != "destroyed" && how != "unmapped" {
      #expect(traced.recording.unwound == 0)
    }
  }

  /// No stack has more open calls than this; a call that was taken for another stack's would be too
  /// deep.
  @Test("No call counts as one of another stack", arguments: ways)
  func limits(how: String) throws {
    _ = try check(how, 2000, ["--max-depth", how == "deep" ? "304" : "9"])
  }

  @Test(
    "A coroutine on an array of a caller's frame, of the program's or of the heap: its asker lasts",
    arguments: ["local", "static", "heap"])
  func inAFrame(how: String) throws {
    let program = try Program(source: "stack_in_frame.c").build()
    let traced = try TracedRun(program, [how])
    #expect(traced.result.ending == .exit(0))
    #expect(traced.recording.unwound == 0)
    let rows = try report(traced.folder)
    #expect(rows["enter"]?.total ?? 0 >= 38_000_000)
    #expect(rows["body"]?.total ?? 0 >= 19_000_000)
    #expect(rows.values.reduce(0) { $0 + $1.own } <= (rows["main"]?.total ?? 0))
  }

  @Test("Exports grow with the calls, and nest")
  func exports() throws {
    var sizes: [Int] = []
    for rounds in [1000, 4000] {
      let traced = try check("generators", rounds)
      let file = traced.folder + ".json"
      let result = try runNopscope(["export", "--format", "chrome", traced.folder, "-o", file])
      #expect(result.ending == .exit(0), "\(result.standardError)")
      sizes.append(try Data(contentsOf: URL(fileURLWithPath: file)).count)
    }
    #expect(sizes[1] < 5 * sizes[0])
  }
}
