// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import Filters
import Foundation
import RecordingReader
import Synchronization
import TestSupport
import Testing

@testable import TraceAnalysis

/// What is read does not depend on how many read it.
@Suite struct ParallelReadingTests {
  static let base: UInt64 = 1_000_000
  static let ids = [
    "00112233445566778899aabbccddeeff00112233", "ff112233445566778899aabbccddeeff0011",
  ]

  /// A program with a library that is loaded over and over: its functions have other numbers each time.
  private static func modules(loads: Int) -> [SyntheticModule] {
    let program = SyntheticModule(
      "/bin/x", buildID: ids[0], functions: ["main", "f", "g", "leaf", "work"])
    let library = (0..<loads).map { load in
      var module = SyntheticModule(
        "/lib/a.so", buildID: ids[1], firstFunction: 5 + 3 * UInt32(load),
        functions: ["lib_open", "lib_run", "static_one"])
      module.generation = 2 + load
      module.loadTime = base + UInt64(load) * 1000
      module.unloadTime = base + UInt64(load) * 1000 + 900
      return module
    }
    return [program] + library
  }

  /// Calls that nest, end without returning, stay open, are no module's, and were lost.
  private static func chunk(
    _ sequence: UInt32, loads: Int, open: [UInt32], _ generator: inout SeededGenerator
  ) -> SyntheticChunk {
    var chunk = SyntheticChunk(
      sequence: sequence, baseTime: base + UInt64(sequence) * 100_000, open: open
    ) { encoder in
      for _ in 0..<100 {
        let time = encoder.time + UInt64.random(in: 0...90, using: &generator)
        switch Int.random(in: 0..<20, using: &generator) {
        case 0: encoder.unwound(UInt32.random(in: 0...2, using: &generator))
        case 1: encoder.lost(UInt64.random(in: 0...3, using: &generator))
        case 2: encoder.entry(UInt32.random(in: 90_000...90_005, using: &generator), at: time)
        case 3: encoder.switched(to: UInt32.random(in: 0...1, using: &generator), at: time)
        case 4...11:
          encoder.entry(UInt32.random(in: 0..<UInt32(5 + 3 * loads), using: &generator), at: time)
        default: encoder.exit(at: time)
        }
      }
      if sequence % 3 == 2 { encoder.raw([0x00, 0x01]) }
    }
    chunk.lostEvents = UInt64(sequence)
    return chunk
  }

  /// Processes that share a program and a library, of as many threads as given.
  private static func recording(threads: [Int], loads: Int = 4, seed: UInt64) -> SyntheticRecording
  {
    var generator = SeededGenerator(seed: seed)
    let processes = threads.enumerated().map { index, count in
      var chunks: [SyntheticChunk] = []
      for thread in 0..<count {
        for sequence in 0..<UInt32.random(in: 3...5, using: &generator) {
          let open: [UInt32] = sequence == 0 ? [0, 1] : []
          let chunk = chunk(sequence, loads: loads, open: open, &generator)
          chunks.append(
            chunk.of(
              thread: Int32(100 * index + thread), serial: UInt32(thread), name: "t\(thread % 3)"))
        }
      }
      var process = SyntheticProcess(modules: modules(loads: loads), chunks: chunks)
      process.pid = Int32(4000 + index)
      process.startTime = base + UInt64(index)
      process.endTime = base + 2_000_000
      process.lostEvents = UInt64(index)
      return process
    }
    return SyntheticRecording(processes: processes)
  }

  private static func text(_ report: Report) -> String {
    var rest = report
    rest.rows = []
    let rows = report.rows.map { row in
      let ranges = row.distribution.ranges.map { "\($0)" }
      return "\(row.label) \(row.function) \(row.number) \(row.loads) \(row.calls) "
        + "\(String(describing: row.times)) \(ranges)"
    }
    return rows.joined(separator: "\n") + "\n\(rest)"
  }

  private static func text(_ slow: SlowCalls) -> String {
    var rest = slow
    rest.distribution = nil
    return "\(slow.distribution?.ranges.map { "\($0)" } ?? []) \(rest)"
  }

  /// All that passes make of a recording, as text.
  private static func everything(
    _ path: String, _ workers: ReadingWorkers, filter: ReadingFilter = .all
  ) throws -> [String] {
    let recording = try Recording(directory: path)
    let rule = try FilterRule("f")
    let slow = SlowCalls(
      of: [rule], count: 5, in: recording, choosing: filter, workers: workers)
    return [
      text(Report(of: recording, choosing: filter, workers: workers)),
      text(Report(of: recording, choosing: filter, eachLoad: true, workers: workers)),
      "\(CallTree(of: recording, choosing: filter, deepest: 5, workers: workers))", text(slow),
    ]
      + ReportGrouping.allCases.map { grouping in
        text(Report(of: recording, by: grouping, choosing: filter, workers: workers))
      }
  }

  @Test(
    "many workers find what one finds, in the same order, and dividing changes nothing",
    arguments: [[18], [1, 1, 1], [3, 1, 7, 0, 2, 1], Array(repeating: 1, count: 18)])
  func workers(threads: [Int]) throws {
    let path = try Self.recording(threads: threads, seed: 1).write()
    let undivided = try Self.everything(path, ReadingWorkers(count: 1, leastChunks: .max))
    #expect(undivided[0].contains("rest skipped"))
    for count in [1, 2, 7] {
      let found = try Self.everything(path, ReadingWorkers(count: count, leastChunks: 1))
      for (found, expected) in zip(found, undivided) { #expect(found == expected) }
    }
  }

  @Test("a library that was loaded forty times is one")
  func unloadStorm() throws {
    let path = try Self.recording(threads: [4, 5, 2], loads: 40, seed: 2).write()
    let undivided = try Self.everything(path, ReadingWorkers(count: 1, leastChunks: .max))
    let found = try Self.everything(path, ReadingWorkers(count: 4, leastChunks: 1))
    for (found, expected) in zip(found, undivided) { #expect(found == expected) }
    let report = Report(
      of: try Recording(directory: path), workers: ReadingWorkers(count: 4, leastChunks: 1))
    #expect(report.rows.filter { $0.label == "lib_run" }.count == 1)
    #expect(report.rows.first { $0.label == "main" }?.loads == 3)
  }

  @Test("options choose the same calls")
  func filters() throws {
    let path = try Self.recording(threads: [5, 9, 2], seed: 3).write()
    var filter = ReadingFilter { _, thread in thread.id % 4 != 1 }
    filter.functions = [try FilterRule("f"), try FilterRule("lib_*")]
    filter.minimum = 100
    let undivided = try Self.everything(
      path, ReadingWorkers(count: 1, leastChunks: .max), filter: filter)
    let found = try Self.everything(
      path, ReadingWorkers(count: 3, leastChunks: 1), filter: filter)
    for (found, expected) in zip(found, undivided) { #expect(found == expected) }
  }

  @Test("damaged files: the same lines in the same order")
  func damage() throws {
    let path = try Self.recording(threads: [4, 8, 1, 1], seed: 4).write()
    var generator = SeededGenerator(seed: UInt64.random(in: 0...UInt64.max))
    print("damage of \(path): seed \(generator.seed)")
    let names = try FileManager.default.subpathsOfDirectory(atPath: path).sorted()
      .filter { $0.hasSuffix(".events") || $0.hasPrefix("symbols/") }
    let whole = try names.map { try Data(contentsOf: URL(fileURLWithPath: "\(path)/\($0)")) }
    for _ in 0..<4 {
      for (name, bytes) in zip(names, whole) {
        var damaged = bytes
        for _ in 0..<20 {
          let place = Int.random(in: 0..<bytes.count, using: &generator)
          damaged[place] = UInt8.random(in: 0...255, using: &generator)
        }
        // Of a damaged number of modules' sites a table is made.
        if !name.hasPrefix("symbols/") { damaged.replaceSubrange(0..<4096, with: bytes[0..<4096]) }
        try damaged.write(to: URL(fileURLWithPath: "\(path)/\(name)"))
      }
      let one = try Self.everything(path, ReadingWorkers(count: 1, leastChunks: 1))
      let many = try Self.everything(path, ReadingWorkers(count: 5, leastChunks: 1))
      for (found, expected) in zip(many, one) { #expect(found == expected) }
    }
  }

  @Test("symbol files that are wrong are named in the order of their names, whoever comes first")
  func symbolProblems() throws {
    var synthetic = Self.recording(threads: Array(repeating: 1, count: 30), seed: 5)
    for index in synthetic.processes.indices {
      let id = String(repeating: String(index % 10), count: 40)
      synthetic.processes[index].modules[1].buildID = id
    }
    let path = try synthetic.write()
    for digit in 0..<10 {
      let name = "\(path)/symbols/" + String(repeating: String(digit), count: 40)
      try Data("something else\n".utf8).write(to: URL(fileURLWithPath: name))
    }
    for count in [1, 8] {
      let problems = Report(
        of: try Recording(directory: path), workers: ReadingWorkers(count: count, leastChunks: 1)
      ).problems.filter { $0.hasPrefix("symbols/") }
      #expect(problems.count == 10)
      #expect(problems == problems.sorted())
    }
  }

  /// Notes which threads of this process read, and waits until there are as many as asked for.
  private struct Meeting: ReadingPass {
    final class Place: Sendable {
      let wanted: Int
      let arrived = Mutex<Set<pthread_t>>([])
      init(_ wanted: Int) { self.wanted = wanted }
    }
    let place: Place

    mutating func begin(_ process: ProcessRecording, _ index: Int) {}
    mutating func read(_ events: ThreadEvents) {
      place.arrived.withLock { _ = $0.insert(pthread_self()) }
      // Long enough for any machine: where too few come, the test fails.
      let end = ContinuousClock.now + .seconds(30)
      while place.arrived.withLock({ $0.count < place.wanted }), ContinuousClock.now < end {
        sched_yield()
      }
    }
    mutating func add(_ next: consuming Meeting) {}
  }

  @Test("as many threads read as there are workers, and no more than there are parts")
  func threads() throws {
    let path = try Self.recording(threads: [8], seed: 6).write()
    let recording = try Recording(directory: path)
    for (count, wanted) in [(1, 1), (3, 3), (100, 8)] {
      let workers = ReadingWorkers(count: count, leastChunks: 1)
      let place = Meeting.Place(wanted)
      _ = RecordingReading(recording, choosing: .all, workers: workers) { _ in }
        .run(Meeting(place: place))
      #expect(place.arrived.withLock { $0.count } == wanted)
    }
    // A short recording needs no other thread.
    let place = Meeting.Place(1)
    _ = RecordingReading(recording, choosing: .all, workers: ReadingWorkers(count: 8)) { _ in }
      .run(Meeting(place: place))
    #expect(place.arrived.withLock { $0 } == [pthread_self()])
  }

  @Test("this thread alone tells how far it is, and never goes back")
  func progress() throws {
    let path = try Self.recording(threads: [8, 8], seed: 7).write()
    var told: [Double] = []
    let report = Report(
      of: try Recording(directory: path), workers: ReadingWorkers(count: 4, leastChunks: 1)
    ) { told.append($0) }
    #expect(report.calls > 0)
    #expect(told == told.sorted())
    #expect(told.allSatisfy { $0 > 0 && $0 <= 1 })
    told = []
    _ = Report(
      of: try Recording(directory: path), workers: ReadingWorkers(count: 1, leastChunks: 1)
    ) { told.append($0) }
    #expect(told.last == 1)
  }
}
