// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingReader
import RecordingSchema
import TestSupport
import Testing

/// What a recording says of sites that were not armed, as hostile input.
@Suite struct SitePlanTests {
  private func recording(_ module: SyntheticModule) throws -> Recording {
    let path = try SyntheticRecording(processes: [SyntheticProcess(modules: [module])]).write()
    return try Recording(directory: path)
  }

  private func module(plan: String?, armed: Int? = nil, status: String = "ok") -> SyntheticModule {
    var module = SyntheticModule("/lib/one.so", functions: ["a", "b", "c", "d"])
    module.plan = plan
    module.armed = armed
    module.status = status
    return module
  }

  private func states(_ recording: Recording) throws -> [SiteState] {
    let record = try #require(recording.processes.first?.modules.first)
    var states: [SiteState] = []
    record.forEachState(upTo: record.sites) { range, state in
      #expect(range.lowerBound == states.count)
      states += Array(repeating: state, count: range.count)
    }
    return states
  }

  @Test("runs say what became of each site, in the order of the table")
  func runs() throws {
    let read = try recording(module(plan: "2aul", armed: 2))
    #expect(read.problems == [])
    #expect(try states(read) == [.armed, .armed, .unwanted, .notArmed])
  }

  @Test("what was to be armed and was not is not armed; what was not wanted stays so")
  func refused() throws {
    let read = try recording(module(plan: "a3u", armed: 0, status: "its text cannot be written"))
    #expect(try states(read) == [.notArmed, .unwanted, .unwanted, .unwanted])
  }

  @Test("a recording without plans is read: only the two ends are certain")
  func older() throws {
    #expect(try states(recording(module(plan: nil))) == Array(repeating: .armed, count: 4))
    let some = try recording(module(plan: nil, armed: 2))
    #expect(some.problems == [])
    #expect(try states(some) == Array(repeating: .unknown, count: 4))
    #expect(
      try states(recording(module(plan: nil, armed: 0))) == Array(repeating: .unknown, count: 4))
    #expect(
      try states(recording(module(plan: nil, armed: 0, status: "left alone: why")))
        == Array(repeating: .notArmed, count: 4))
  }

  @Test(
    "a plan that is not one of the module's sites is not used, and said to be so",
    arguments: [
      "", "4", "3a", "5a", "4x", "a4", "0a4a", "4a1", "-4a", "99999999999999999999a",
      "4294967300a", "2a2aa", "4a\u{1b}[2J", "9223372036854775807a9223372036854775807a",
    ])
  func hostile(plan: String) throws {
    let escaped = plan.replacingOccurrences(of: "\u{1b}", with: "\\u001b")
    let read = try recording(module(plan: escaped))
    #expect(try states(read) == Array(repeating: .armed, count: 4))
    let shown = plan.prefix(20) + (plan.count > 20 ? "…" : "")
    #expect(
      read.problems == [
        "4711-0.modules:1: expected a plan of 4 sites such as 12a3u, found \(shown): not used"
      ])
  }

  @Test("reasons are read, bounded, and those that count nothing are left out")
  func reasons() throws {
    let path = try SyntheticRecording(processes: [SyntheticProcess()]).write()
    let reasons = (0..<100).map { "{\"reason\":\"r\($0)\",\"count\":\($0)}" }
    let line =
      "{\"load\":{\"generation\":1,\"path\":\"/x\",\"skippedReasons\":["
      + reasons.joined(separator: ",") + "]}}\n"
    try line.write(toFile: path + "/4711-0.modules", atomically: false, encoding: .utf8)
    let record = try #require(try Recording(directory: path).processes.first?.modules.first)
    #expect(record.skippedReasons.count == 64)
    #expect(record.skippedReasons.first == SkippedReason(reason: "r1", count: 1))
  }
}
