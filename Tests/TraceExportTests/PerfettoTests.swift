// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TestSupport
import Testing
import TraceExport

/// Perfetto's traces, read back packet by packet.
@Suite struct PerfettoTests {
  @Test("slices count and last as report says", arguments: [1, 2, 3] as [UInt64])
  func equalsReport(seed: UInt64) throws {
    let recording = try ExportRecordings.random(seed: seed)
    let (path, summary) = try export(recording, as: .perfetto)
    let trace = try PerfettoTrace(path: path)
    #expect(trace.pairing.problems == [])
    #expect(trace.pairing.unclosed == 0)
    #expect(counted(trace.pairing.slices) == reported(recording))
    #expect(summary.calls == 1200)
    #expect(summary.functions == 8)
    #expect(summary.problems == [])
    #expect(Set(trace.threads.values.map(\.name)) == ["worker 0", "worker 1", "worker 2"])
    #expect(trace.processNames == [4711: "program"])
    #expect(trace.categories["ns::foo(int)"] == ["program"])
    #expect(trace.realtime == [1_700_000_000_000_000_000])
  }

  @Test("a call costs at most 28 bytes")
  func size() throws {
    let (_, summary) = try export(
      try ExportRecordings.random(seed: 5, threads: 1, calls: 20_000), as: .perfetto)
    #expect(summary.bytes <= 28 * summary.calls)
  }

  @Test("unwound calls, calls still open and entries without exits are closed, with a note")
  func unusual() throws {
    let (path, summary) = try export(try ExportRecordings.unusual(), as: .perfetto)
    let trace = try PerfettoTrace(path: path)
    #expect(trace.pairing.problems == [])
    #expect(trace.pairing.unclosed == 0)
    #expect(trace.pairing.slices.map(\.shown) == UnusualSlices.all)
    #expect(trace.instants.map(\.name) == ["leaf", "[events lost]"])
    #expect(trace.instants.last?.notes == ["7"])
    #expect(summary.unwound == 2)
    #expect(summary.stillOpen == 2)
    #expect(summary.entryOnly == 1)
    #expect(summary.lostEvents == 7)
    #expect(summary.calls == 7)
  }

  @Test("what a gap hides is said at both its ends")
  func gap() throws {
    let (path, summary) = try export(try ExportRecordings.gap(), as: .perfetto)
    let trace = try PerfettoTrace(path: path)
    #expect(
      trace.pairing.slices.map(\.shown) == [
        "next_token 2 10+0 events are missing",
        "parse 1 5+5 entered earlier|events are missing", "leaf 1 110+10",
        "main 0 5+125 entered earlier",
      ])
    #expect(trace.instants.map(\.notes) == [["4"]])
    #expect(summary.cutOff == 2)
    #expect(summary.startMissing == 2)
    #expect(summary.calls == 2)
  }

  @Test("another stack's calls are split where the stack below them ends")
  func otherStack() throws {
    let recording = try ExportRecordings.otherStack()
    let (path, summary) = try export(recording, as: .perfetto)
    let trace = try PerfettoTrace(path: path)
    #expect(trace.pairing.problems == [])
    #expect(
      trace.pairing.slices.map(\.shown) == [
        "next_token 2 20+10 the thread left this stack",
        "parse 1 10+20 the thread left this stack", "main 0 0+30",
        "next_token 1 30+10 continues", "parse 0 30+30 continues",
      ])
    #expect(
      counted(trace.pairing.slices).mapValues(\.nanoseconds)
        == reported(recording).mapValues(\.nanoseconds))
    #expect(summary.calls == 3)
  }

  @Test("calls deeper than Perfetto keeps open on a track are on tracks of their own")
  func deep() throws {
    let recording = try ExportRecordings.deep(1100)
    let trace = try PerfettoTrace(path: try export(recording, as: .perfetto).path)
    #expect(trace.pairing.problems == [])
    #expect(trace.pairing.unclosed == 0)
    #expect(trace.deepSlices == ["deeper than 512": 512, "deeper than 1024": 76])
    #expect(trace.pairing.slices.map(\.depth).max() == 511)
    #expect(counted(trace.pairing.slices) == reported(recording))
  }

  @Test("a thread's times off the CPU are a track below its own, with the reason")
  func offCPU() throws {
    let (path, summary) = try export(try ExportRecordings.waits(), as: .perfetto)
    let trace = try PerfettoTrace(path: path)
    #expect(trace.pairing.problems == [])
    #expect(trace.pairing.unclosed == 0)
    #expect(trace.deepSlices == ["off the CPU": 2])
    let tracks = trace.threads.filter { $0.value.tid == 4711 }.map(\.key)
    #expect(trace.trackParents["off the CPU"].map { [$0] } == tracks)
    #expect(
      trace.pairing.slices.map(\.shown)
        == ["main 0 100+1000", "waits 0 200+300", "could run 0 600+50", "main 0 100+1000"])
    #expect(summary.calls == 2)
  }

  @Test("a time that falls is held back, and reported")
  func fallingTime() throws {
    let base = ExportRecordings.base
    let chunks = [
      SyntheticChunk { $0.entry(0, at: base + 100) },
      SyntheticChunk(sequence: 1, baseTime: base + 40, open: [0]) {
        $0.call(1, from: base + 50, to: base + 110)
        $0.exit(at: base + 120)
      },
    ]
    let recording = try ExportRecordings.open([
      SyntheticProcess(modules: [ExportRecordings.module()], chunks: chunks)
    ])
    let (path, summary) = try export(recording, as: .perfetto)
    let trace = try PerfettoTrace(path: path)
    #expect(trace.pairing.problems == [])
    #expect(trace.pairing.slices.map(\.shown) == ["parse 1 100+10", "main 0 100+20"])
    #expect(
      summary.problems == [
        "1 events are older than the one before: calls there are shown too short"
      ])
  }

  @Test("processes and their threads have tracks of their own")
  func processes() throws {
    let recording = try ExportRecordings.processes()
    let trace = try PerfettoTrace(path: try export(recording, as: .perfetto).path)
    #expect(trace.processNames == [100: "program", 101: "program"])
    #expect(trace.threads.values.map(\.tid).sorted() == [100, 101, 101])
    #expect(counted(trace.pairing.slices) == reported(recording))
  }
}

extension ExportedSlice {
  /// Times from the first event's; notes by their first words.
  var shown: String {
    let short = notes.map { note in
      [
        "ended without", "still open", "events are missing", "entered earlier", "continues",
        "the thread left this stack",
      ].first { note.hasPrefix($0) } ?? note
    }
    let start = start % 1_000_000
    let text = "\(name) \(depth) \(start)+\(duration)"
    return short.isEmpty ? text : "\(text) \(short.joined(separator: "|"))"
  }
}

/// The slices of `ExportRecordings.unusual`, in the order of their ends.
enum UnusualSlices {
  static let all = [
    "leaf 2 15+0", "next_token 3 30+0 ended without", "next_token 2 20+10 ended without",
    "parse 1 10+40", "next_token 2 70+5", "parse 1 60+15 still open", "main 0 0+75 still open",
  ]
}
