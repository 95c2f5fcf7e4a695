// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import RecordingReader
import TestSupport
import Testing
import TraceAnalysis

/// Sums of modules, threads, processes and source files. One unit is one nanosecond.
@Suite struct GroupedReportTests {
  static let base: UInt64 = 1_000_000

  /// `main` (0) and `helper` (1) are of the program, `work` (2) and `deep` (3) of a library. main calls
  /// work, which calls helper, which calls deep; a second thread calls helper twice.
  private func recording(tracer: String = "function_graph") throws -> Recording {
    var program = SyntheticModule("/bin/app", buildID: "01", functions: ["main", "helper"])
    program.sources = [0: ("/src/main.c", 3), 1: ("/src/util.c", 9)]
    var library = SyntheticModule(
      "/lib/work.so", buildID: "02", firstFunction: 2, functions: ["work", "deep"])
    library.sources = [0: ("/src/util.c", 20)]
    library.generation = 2
    let first = SyntheticChunk { encoder in
      encoder.entry(0, at: Self.base)
      encoder.entry(2, at: Self.base + 100)
      encoder.entry(1, at: Self.base + 200)
      encoder.call(3, from: Self.base + 300, to: Self.base + 400)
      encoder.exit(at: Self.base + 500)
      encoder.exit(at: Self.base + 600)
      encoder.exit(at: Self.base + 1000)
    }
    let second = SyntheticChunk { encoder in
      encoder.call(1, from: Self.base, to: Self.base + 30)
      encoder.call(1, from: Self.base + 50, to: Self.base + 60)
    }.of(thread: 4712, serial: 1, name: "worker")
    var child = SyntheticProcess(
      modules: [program],
      chunks: [
        SyntheticChunk { $0.call(0, from: Self.base, to: Self.base + 5) }
          .of(thread: 5000, serial: 0, name: "child")
      ])
    child.pid = 5000
    let process = SyntheticProcess(modules: [program, library], chunks: [first, second])
    let path = try SyntheticRecording(tracer: tracer, processes: [process, child]).write()
    return try Recording(directory: path)
  }

  private func rows(_ grouping: ReportGrouping) throws -> [String] {
    let report = Report(of: try recording(), by: grouping)
    #expect(report.calls == 7 && report.threads == 3 && report.rows.isEmpty)
    return report.groups.map { row in
      let ids = [row.pid, row.tid].compactMap { $0.map { " \($0)" } }.joined()
      return "\(row.name ?? "-")\(ids): \(row.calls) \(row.selfTime ?? -1) \(row.total ?? -1)"
    }
  }

  @Test("a module's total counts only what is in no other call of the module")
  func modules() throws {
    // main 1000 - 500, helper 300 - 100 + 40, the child's main 5; work 500 - 300, deep 100.
    #expect(
      try rows(.module) == ["/bin/app: 5 745 1045", "/lib/work.so: 2 300 500"])
  }

  @Test("source files sum up over modules; what has no line is one row")
  func files() throws {
    #expect(
      try rows(.file) == ["/src/main.c: 2 505 1005", "/src/util.c: 4 440 540", "-: 1 100 100"])
  }

  @Test("threads and processes each are a row")
  func threadsAndProcesses() throws {
    #expect(
      try rows(.thread) == [
        "program 4711 4711: 4 1000 1000", "worker 4711 4712: 2 40 40", "child 5000 5000: 1 5 5",
      ])
    #expect(
      try rows(.process) == [
        "/usr/bin/program 4711: 6 1040 1040", "/usr/bin/program 5000: 1 5 5",
      ])
  }

  @Test("functions that no module has are a module of their own, however many there are")
  func unknown() throws {
    let chunk = SyntheticChunk { encoder in
      for number in 0..<9 as Range<UInt32> {
        encoder.call(1000 + number, from: Self.base + 10, to: Self.base + 20)
      }
    }
    let module = SyntheticModule("/bin/app", functions: ["main"])
    let path = try SyntheticRecording(
      processes: [SyntheticProcess(modules: [module], chunks: [chunk])]
    ).write()
    let report = Report(of: try Recording(directory: path), by: .module)
    #expect(report.groups.map(\.name) == [nil] && report.groups.map(\.calls) == [9])
  }

  @Test("a profile has no totals that could be added, and hits have no times")
  func otherTracers() throws {
    let module = SyntheticModule("/bin/app", functions: ["f", "g"])
    let entry = nrec_profile_entry(
      ended_calls: 2, open_calls: 0, calls: 2, total_time: 30, self_time: 20, minimum_time: 10,
      maximum_time: 20, squares_low: 500, squares_high: 0, sum_time: 30)
    for (tracer, chunk) in [
      ("profile", SyntheticChunk(profile: [entry, entry])), ("hits", SyntheticChunk(hits: [3, 4])),
    ] {
      let path = try SyntheticRecording(
        tracer: tracer, processes: [SyntheticProcess(modules: [module], chunks: [chunk])]
      ).write()
      let row = try #require(Report(of: try Recording(directory: path), by: .module).groups.first)
      #expect(row.calls == (tracer == "profile" ? 4 : 7))
      #expect(row.selfTime == (tracer == "profile" ? 40 : nil) && row.total == nil)
    }
  }
}
