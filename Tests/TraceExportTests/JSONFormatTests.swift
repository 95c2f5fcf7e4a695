// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingReader
import TestSupport
import Testing

@testable import TraceExport

/// The formats that are JSON, read back by another parser.
@Suite struct JSONFormatTests {
  private func object(_ path: String) throws -> [String: Any] {
    try jsonObject(try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  /// Nanoseconds: three digits stand behind the point.
  private func chrome(_ path: String) throws -> (SlicePairing, names: [String], lost: [Any]) {
    let document = try object(path)
    #expect(document["displayTimeUnit"] as? String == "ns")
    var pairing = SlicePairing()
    var names: [String] = []
    var lost: [Any] = []
    for event in try #require(document["traceEvents"] as? [[String: Any]]) {
      let thread = try #require(event["tid"] as? Int)
      let arguments = event["args"] as? [String: Any]
      let time = UInt64((((event["ts"] as? Double) ?? 0) * 1000).rounded())
      let name = event["name"] as? String
      let note = arguments?["note"] as? String
      switch event["ph"] as? String {
      case "M": names.append(try #require(arguments?["name"] as? String))
      case "B": pairing.begin(try #require(name), thread: thread, at: time, note: note)
      case "E": pairing.end(thread: thread, at: time, note: note)
      case "i" where name == "[events lost]": lost.append(try #require(arguments?["events"]))
      case "i": pairing.instant(try #require(name), thread: thread, at: time)
      default: Issue.record("unknown phase in \(event)")
      }
    }
    return (pairing, names, lost)
  }

  private func speedscope(_ path: String) throws -> SlicePairing {
    let document = try object(path)
    #expect(
      document["$schema"] as? String == "https://www.speedscope.app/file-format-schema.json")
    let shared = try #require(document["shared"] as? [String: Any])
    let frames = try #require(shared["frames"] as? [[String: Any]]).map { $0["name"] as? String }
    var pairing = SlicePairing()
    for (thread, profile) in try #require(document["profiles"] as? [[String: Any]]).enumerated() {
      #expect(profile["type"] as? String == "evented")
      #expect(profile["unit"] as? String == "nanoseconds")
      let events = try #require(profile["events"] as? [[String: Any]])
      let first = try #require(profile["startValue"] as? Int)
      #expect(first <= events.first?["at"] as? Int ?? .max)
      #expect(profile["endValue"] as? Int == events.last?["at"] as? Int)
      for event in events {
        let time = UInt64(try #require(event["at"] as? Int))
        let frame = try #require(event["frame"] as? Int)
        let name = try #require(frames[frame])
        if event["type"] as? String == "O" {
          pairing.begin(name, thread: thread, at: time, note: nil)
        } else {
          pairing.end(name, thread: thread, at: time, note: nil)
        }
      }
    }
    return pairing
  }

  @Test("chrome: slices count and last as report says", arguments: [1, 2] as [UInt64])
  func chromeEqualsReport(seed: UInt64) throws {
    let recording = try ExportRecordings.random(seed: seed)
    let (pairing, names, _) = try chrome(try export(recording, as: .chrome).path)
    #expect(pairing.problems == [])
    #expect(pairing.unclosed == 0)
    #expect(counted(pairing.slices) == reported(recording))
    #expect(Set(names) == ["program", "worker 0", "worker 1", "worker 2"])
  }

  @Test("chrome: what is unusual is closed, with a note")
  func chromeUnusual() throws {
    let (pairing, _, lost) = try chrome(
      try export(try ExportRecordings.unusual(), as: .chrome).path)
    #expect(pairing.slices.map(\.shown) == UnusualSlices.all)
    #expect(lost as? [Int] == [7])
  }

  @Test("chrome: the tracer function gives instants")
  func chromeFunction() throws {
    let recording = try ExportRecordings.of(tracer: "function")
    let (path, summary) = try export(recording, as: .chrome)
    let (pairing, _, _) = try chrome(path)
    #expect(pairing.slices.map(\.shown) == ["main 0 0+0", "parse 0 10+0", "parse 0 20+0"])
    #expect(summary.entryOnly == 3)
  }

  @Test("speedscope: frames count and last as report says", arguments: [1, 2] as [UInt64])
  func speedscopeEqualsReport(seed: UInt64) throws {
    let recording = try ExportRecordings.random(seed: seed)
    let pairing = try speedscope(try export(recording, as: .speedscope).path)
    #expect(pairing.problems == [])
    #expect(pairing.unclosed == 0)
    #expect(counted(pairing.slices) == reported(recording))
  }

  @Test(
    "speedscope: frames nest whatever happened",
    arguments: [
      ExportRecordings.unusual, ExportRecordings.gap, ExportRecordings.otherStack,
      ExportRecordings.processes,
    ])
  func speedscopeNests(make: @Sendable () throws -> Recording) throws {
    let pairing = try speedscope(try export(try make(), as: .speedscope).path)
    #expect(pairing.problems == [])
    #expect(pairing.unclosed == 0)
    #expect(!pairing.slices.isEmpty)
  }

  @Test("control characters, quotes and bytes beyond ASCII survive JSON")
  func escapes() throws {
    let name = "a\u{1}\n\t\"\\\u{7f}é\u{1F600}"
    let module = SyntheticModule("/bin/x", firstFunction: 0, functions: ["plain"])
    var chunk = SyntheticChunk { $0.call(0, from: 1_000_001, to: 1_000_002) }
    chunk.name = "t\u{1}\""
    let recording = try ExportRecordings.open([SyntheticProcess(modules: [module], chunks: [chunk])]
    )
    let (_, names, _) = try chrome(try export(recording, as: .chrome).path)
    #expect(names.contains("t\u{1}\""))
    let text = try JSONSerialization.jsonObject(
      with: Data(jsonBytes(name)), options: .fragmentsAllowed)
    #expect(text as? String == name)
  }
}
