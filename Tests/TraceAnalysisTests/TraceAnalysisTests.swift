// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import RecordingReader
import TestSupport
import Testing

@testable import TraceAnalysis

/// Calls put together from events.
///
/// One unit is one nanosecond.
@Suite struct ReportTests {
  static let base: UInt64 = 1_000_000
  static let module = SyntheticModule("/bin/x", functions: ["main", "f", "g", "leaf"])

  static func recording(
    tracer: String = "function_graph", _ chunks: [SyntheticChunk],
    change: (inout SyntheticProcess) -> Void = { _ in }
  ) throws -> Recording {
    var process = SyntheticProcess(modules: [module], chunks: chunks)
    change(&process)
    let path = try SyntheticRecording(tracer: tracer, processes: [process]).write()
    return try Recording(directory: path)
  }

  /// Function: calls, total, self, minimum, maximum.
  private func rows(_ report: Report) -> [String: [Int]] {
    var rows: [String: [Int]] = [:]
    for row in report.rows {
      let times = row.times.map { [$0.total, $0.selfTime, $0.minimum, $0.maximum] }
      rows[row.label] = [Int(row.calls)] + (times ?? [])
    }
    return rows
  }

  @Test("totals, selves and extremes are those of the calls")
  func nested() throws {
    let recording = try Self.recording([
      SyntheticChunk { encoder in
        encoder.entry(0, at: Self.base + 10)
        encoder.call(3, from: Self.base + 20, to: Self.base + 50)
        encoder.call(3, from: Self.base + 60, to: Self.base + 70)
        encoder.exit(at: Self.base + 110)
      }
    ])
    let report = Report(of: recording)
    #expect(rows(report) == ["main": [1, 100, 60, 100, 100], "leaf": [2, 40, 40, 10, 30]])
    let leaf = try #require(report.rows.last?.times)
    #expect(leaf.average == 20)
    #expect(leaf.variance == 200)
    #expect([leaf.median, leaf.percentile99] == [10, 30])
    #expect(report.calls == 3 && report.threads == 1 && !report.isCorrupted)
  }

  @Test("recursion counts once in the total, each call in the average")
  func recursion() throws {
    let recording = try Self.recording([
      SyntheticChunk { encoder in
        for depth in 0..<3 { encoder.entry(1, at: Self.base + UInt64(depth)) }
        for depth in 0..<3 { encoder.exit(at: Self.base + 100 + UInt64(depth)) }
      }
    ])
    let report = Report(of: recording)
    #expect(rows(report) == ["f": [3, 102, 102, 98, 102]])
    #expect(report.rows[0].times?.average == 100)
  }

  @Test("unwound calls end at the event before, open ones at the last")
  func unwound() throws {
    let recording = try Self.recording([
      SyntheticChunk { encoder in
        encoder.entry(0, at: Self.base)
        encoder.entry(1, at: Self.base + 10)
        encoder.entry(2, at: Self.base + 20)
        encoder.unwound(2)
        encoder.call(3, from: Self.base + 50, to: Self.base + 60)
      }
    ])
    let report = Report(of: recording)
    #expect(
      rows(report) == [
        "main": [1, 60, 40, 60, 60], "f": [1, 10, 10, 10, 10], "g": [1, 0, 0, 0, 0],
        "leaf": [1, 10, 10, 10, 10],
      ])
    #expect([report.unwound, report.stillOpen, report.cutOff] == [2, 1, 0])
  }

  @Test("unwound calls end when they were unwound, where that is known")
  func unwoundAtATime() throws {
    let recording = try Self.recording([
      SyntheticChunk { encoder in
        encoder.entry(0, at: Self.base)
        encoder.entry(1, at: Self.base + 10)
        encoder.entry(2, at: Self.base + 20)
        encoder.unwound(2, at: Self.base + 45)
        encoder.call(3, from: Self.base + 50, to: Self.base + 60)
        encoder.exit(at: Self.base + 70)
      }
    ])
    #expect(
      rows(Report(of: recording)) == [
        "main": [1, 70, 25, 70, 70], "f": [1, 35, 10, 35, 35], "g": [1, 25, 25, 25, 25],
        "leaf": [1, 10, 10, 10, 10],
      ])
  }

  @Test("a return on another stack closes its own call and leaves those inside open")
  func exitAt() throws {
    let recording = try Self.recording([
      SyntheticChunk { encoder in
        encoder.entry(0, at: Self.base)
        encoder.entry(1, at: Self.base + 10)
        encoder.entry(2, at: Self.base + 20)
        encoder.exit(at: Self.base + 30, outside: 1)
        encoder.exit(at: Self.base + 40)
        encoder.exit(at: Self.base + 50)
      }
    ])
    let calls = rows(Report(of: recording))
    // The other stack is not what f called: its time is not taken from f.
    #expect(calls["f"] == [1, 20, 20, 20, 20])
    #expect(calls["g"] == [1, 20, 20, 20, 20])
    #expect(calls["main"]?[1] == 50)
  }

  @Test("a function without a hooked return has calls, no time, and is no one's caller")
  func entryOnly() throws {
    let recording = try Self.recording(
      [
        SyntheticChunk { encoder in
          encoder.entry(0, at: Self.base)
          encoder.entry(1, at: Self.base + 10)
          encoder.call(3, from: Self.base + 20, to: Self.base + 30)
          encoder.exit(at: Self.base + 100)
        }
      ], change: { $0.modules[0].entryOnly = [1] })
    #expect(
      rows(Report(of: recording)) == [
        "main": [1, 100, 90, 100, 100], "f": [1], "leaf": [1, 10, 10, 10, 10],
      ])
  }

  @Test("after a gap the chunk says what is open; what a gap cuts has no time")
  func gap() throws {
    let recording = try Self.recording([
      SyntheticChunk { encoder in
        encoder.entry(0, at: Self.base)
        encoder.entry(1, at: Self.base + 10)
      },
      SyntheticChunk(sequence: 2, baseTime: Self.base + 1000, open: [0, 2]) { encoder in
        encoder.exit(at: Self.base + 1010)
        encoder.exit(at: Self.base + 1100)
      },
    ])
    let report = Report(of: recording)
    #expect(rows(report) == ["main": [1, 1100, 1090, 1100, 1100], "f": [1]])
    #expect(report.cutOff == 1)
    #expect(report.isCorrupted)
  }

  @Test("lost events are counted once, whoever counts them")
  func lost() throws {
    let first = SyntheticChunk { $0.lost(3) }
    var second = SyntheticChunk(sequence: 1) { $0.lost(2) }
    second.lostEvents = 3
    let recording = try Self.recording([first, second]) { $0.lostEvents = 5 }
    #expect(Report(of: recording).lostEvents == 5)
  }

  @Test("threads are merged, or chosen")
  func threads() throws {
    let chunk = SyntheticChunk { $0.call(1, from: Self.base, to: Self.base + 10) }
    let recording = try Self.recording([
      chunk, chunk.of(thread: 4712, serial: 1, name: "worker"),
    ])
    #expect(rows(Report(of: recording)) == ["f": [2, 20, 20, 10, 10]])
    let one = Report(of: recording, choosing: ReadingFilter { $1.name == "worker" })
    #expect(rows(one) == ["f": [1, 10, 10, 10, 10]])
    #expect(one.threads == 1)
  }

  @Test("tracers that count: a call tree, a profile, hits, entries alone")
  func counting() throws {
    let tree = try Self.recording(
      tracer: "callgraph",
      [SyntheticChunk(tree: [(.max, 0, 0), (0, 0, 1), (0, 0, 0), (1, 1, 5), (1, 3, 7)])])
    #expect(rows(Report(of: tree)) == ["main": [1], "f": [12]])
    let merged = CallTree(of: tree)
    #expect(merged.nodes.map(\.calls) == [1, 1, 5, 7])
    #expect(merged.nodes[2].children == [3])
    let entry = nrec_profile_entry(
      ended_calls: 2, open_calls: 0, calls: 2, total_time: 30, self_time: 25, minimum_time: 10,
      maximum_time: 20, squares_low: 500, squares_high: 0, sum_time: 30)
    let entries = [nrec_profile_entry(), entry]  // by function number
    let profile = try Self.recording(
      tracer: "profile",
      [
        SyntheticChunk(profile: entries),
        SyntheticChunk(profile: entries).of(thread: 2, serial: 1, name: "w"),
      ])
    let report = Report(of: profile)
    #expect(rows(report) == ["f": [4, 60, 50, 10, 20]])
    #expect(report.rows[0].times?.median == nil)
    var wider = SyntheticChunk(hits: [0, 7, 0])
    wider.sequence = 1
    let hits = try Self.recording(tracer: "hits", [SyntheticChunk(hits: [0, 2]), wider])
    #expect(rows(Report(of: hits)) == ["f": [7]])
    let callers = try Self.recording(
      tracer: "function",
      [
        SyntheticChunk { encoder in
          encoder.entry(0, from: 0x1000, at: Self.base)
          encoder.entry(1, from: 0x2000, at: Self.base + 1)
        }
      ])
    #expect(rows(Report(of: callers)) == ["main": [1], "f": [1]])
  }

  @Test("functions are the same across processes by module and site; numbers of no module are not")
  func processes() throws {
    let chunk = SyntheticChunk { encoder in
      encoder.call(1, from: Self.base, to: Self.base + 10)
      encoder.call(99, from: Self.base + 10, to: Self.base + 20)
    }
    let first = SyntheticProcess(modules: [Self.module], chunks: [chunk])
    var second = first
    second.pid = 4800
    let path = try SyntheticRecording(processes: [first, second]).write()
    let report = Report(of: try Recording(directory: path))
    #expect(report.rows.map(\.calls) == [2, 1, 1])
    #expect(report.rows.map(\.label) == ["f", "function 99", "function 99"])
  }

  @Test("the merged tree has times per chain of callers")
  func tree() throws {
    let recording = try Self.recording([
      SyntheticChunk { encoder in
        for round in 0..<2 as Range<UInt64> {
          let start = Self.base + round * 1000
          encoder.entry(0, at: start)
          encoder.call(1, from: start + 10, to: start + 20)
          encoder.entry(2, at: start + 30)
          encoder.call(1, from: start + 40, to: start + 45)
          encoder.exit(at: start + 60)
          encoder.exit(at: start + 100)
        }
      }
    ])
    let tree = CallTree(of: recording)
    func text(_ node: Int) -> String {
      let entry = tree.nodes[node]
      let name = entry.function < 0 ? "" : tree.functions[Int(entry.function)].label
      let children = entry.children.map(text).joined(separator: " ")
      return "\(name) \(entry.calls) \(entry.total) \(entry.selfTime)"
        + (children.isEmpty ? "" : " [\(children)]")
    }
    #expect(text(0) == " 2 200 0 [main 2 200 120 [g 2 60 50 [f 2 10 10] f 2 20 20]]")
  }

  @Test("a difference pairs functions by name, the largest change first")
  func differences() throws {
    func report(_ calls: [(UInt32, UInt64)]) throws -> Report {
      Report(
        of: try Self.recording([
          SyntheticChunk { encoder in
            for (function, time) in calls {
              encoder.call(function, from: encoder.time, to: encoder.time + time)
            }
          }
        ]))
    }
    let rows = difference(
      from: try report([(1, 10), (2, 10)]), to: try report([(1, 15), (1, 15), (3, 100)]))
    #expect(rows.map(\.label) == ["leaf", "f", "g"])
    #expect(rows.map(\.calls) == [1, 1, -1])
    #expect(rows.map(\.total) == [100, 20, -10])
  }

  @Test(
    "quantiles are within one percent, small values exact", arguments: [100, 10_000, 50_000_000])
  func quantiles(largest: UInt64) {
    var generator = SeededGenerator(seed: 7)
    var pool = HistogramPool()
    pool.addFunction()
    var values: [UInt64] = []
    for _ in 0..<20_000 {
      values.append(UInt64.random(in: 0...largest, using: &generator))
      pool.count(values[values.count - 1], function: 0)
    }
    values.sort()
    var histogram = Histogram()
    pool.merge(function: 0, into: &histogram)
    for fraction in [0.01, 0.5, 0.9, 0.99, 1] {
      let exact = Double(values[Int((Double(values.count) * fraction).rounded(.up)) - 1])
      let found = Double(histogram.quantile(fraction) ?? 0)
      #expect(abs(found - exact) <= (exact < 128 ? 0 : exact / 100), "\(fraction)")
    }
  }
}
