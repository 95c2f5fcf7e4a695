// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Programs that give up descriptors, rights and system calls, and what the agent might need of them:
/// they run as alone, and are recorded.
@Suite struct GivenUpTests {
  private func check(
    _ source: String, _ words: [String], _ manner: Manner
  ) throws -> TracedRun {
    let program = try Program(source: source, variant: manner.variant).build()
    let plain = try runChild(program, words)
    #expect(plain.ending == .exit(3))
    let traced = try TracedRun(program, words, options: manner.options)
    #expect(traced.result.ending == plain.ending)
    #expect(traced.result.output == plain.output)
    for (name, count) in statedCalls(plain.output) {
      #expect(traced.calls[name] == count, "\(name)")
    }
    #expect(traced.recording.complaints.prefix(3) == [])
    return traced
  }

  @Test(
    "A program that closes all descriptors is recorded, and nobody writes to its own",
    arguments: ["loop", "range", "child"], Manner.some)
  func closesAll(how: String, manner: Manner) throws {
    let traced = try check("closes_all.c", [how], manner)
    #expect(traced.recording.lostEvents == 0)
  }

  @Test(
    "A program that forbids itself system calls is recorded",
    arguments: ["filter", "early", "threads", "forks", "deep", "error"], Manner.some)
  func confined(how: String, manner: Manner) throws {
    let traced = try check("confined.c", [how], manner)
    #expect(traced.recording.lostEvents == 0)
    #expect(
      how == "error"
        || traced.result.standardError.contains("system call filter that forbids patching"))
  }

  @Test(
    "Threads that start while a filter is installed keep their hooked returns",
    arguments: 0..<40)
  func threadsThatStartMeanwhile(run: Int) throws {
    _ = try check("confined.c", ["threads"], Manner(variant: .patchable))
  }

  @Test(
    "Where the time stamp counter is forbidden, that thread's recording ends, and that is said",
    arguments: ["strict", "clock"], ["function_graph", "function", "profile"])
  func withoutClock(how: String, tracer: String) throws {
    let traced = try check("confined.c", [how], Manner(tracer: tracer))
    #expect(traced.calls["after"] == nil)
    #expect(traced.recording.lostEvents >= 200_000)
    #expect(traced.result.standardError.contains("may not read the time stamp counter"))
  }

  @Test(
    "Tracers that read no clock count on there", arguments: ["strict", "clock"],
    ["callgraph", "hits"])
  func countsWithoutClock(how: String, tracer: String) throws {
    let traced = try check("confined.c", [how], Manner(tracer: tracer))
    #expect(traced.calls["after"] == 200_000)
  }
}
