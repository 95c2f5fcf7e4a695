// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import RecordingReader
import TraceAnalysis

extension ReportOrder: ExpressibleByArgument {}

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Count and time the functions of a recording.",
    discussion: """
      One line a function. TOTAL is the time in the function and what it called, recursion counted \
      once. SELF is the time without what it called. AVG, MIN, MAX, P50 and P99 are of single \
      calls; P50 and P99 are right within 1 %. A call that never returned is timed to its thread's \
      last event. The tracers function, callgraph and hits count calls and measure no times. Where \
      functions of two modules have one name, the module follows it: work [libx.so].

      --uncalled lists the functions that were armed and never called. Functions that the rules left \
      out, and functions that could not be armed, are not in that list.

      EXAMPLES
        nopscope report
        nopscope report build.data --sort self --limit 20
        nopscope report --json | jq '.functions[] | select(.calls > 1000).function'
        nopscope report new.data --diff old.data
        nopscope report --uncalled

      EXIT STATUS
        0  the recording was read; stderr names the parts that are damaged
        1  it cannot be read
        64 the command line is wrong
      """)

  @OptionGroup var recording: RecordingArguments

  @Option(help: "Sort by total, self, calls, avg, min, max, p50, p99, variance or name.")
  var sort: ReportOrder?

  @Option(help: "Show only this many functions.")
  var limit: Int?

  @Option(
    help: "Compare with an older recording: what changed from OTHER to DIR.",
    completion: .directory)
  var diff: String?

  @Flag(help: "List the functions that could have been recorded and were never called.")
  var uncalled = false

  @Flag(
    help: "Write one JSON document, schema nopscope.report/1 (report-diff/1, uncalled/1).")
  var json = false

  func validate() throws {
    if let limit, limit < 0 { throw ValidationError("--limit \(limit): expected 0 or more") }
    if diff != nil && sort != nil {
      throw ValidationError("--sort cannot be used with --diff: a comparison is sorted by change")
    }
    if uncalled && (diff != nil || sort != nil) {
      throw ValidationError(
        "--uncalled cannot be used with --diff or --sort: it lists functions without any figure"
      )
    }
  }

  func run() throws {
    let opened = try recording.open()
    try recording.requireThreads(opened)
    let report = read(opened, "reading \(recording.directory)")
    if let diff {
      try compare(report, of: opened, diff)
      return
    }
    if uncalled {
      let list = UncalledList(
        recording: opened, report: report, uncalled: Uncalled(of: opened, report: report))
      try list.write(limit: limit, json: json)
      complainOf(report.problems, in: recording.directory)
      return
    }
    let rows = limited(sort.map { $0.sorted(report.rows) } ?? report.rows)
    if json {
      try writeJSON(ReportDocument(report, rows), schema: "report")
    } else {
      write(reportText(report, rows), to: 1)
    }
    finish(report, of: opened)
  }

  private func compare(_ report: Report, of opened: Recording, _ other: String) throws {
    var arguments = recording
    arguments.directory = other
    let before = read(try arguments.open(), "reading \(other)")
    let all = difference(from: before, to: report)
    let rows = limited(all)
    if json {
      try writeJSON(DifferenceDocument(rows), schema: "report-diff")
    } else {
      write(differenceText(rows, ModuleMarks(all)), to: 1)
    }
    complainOf(before.problems, in: other)
    finish(report, of: opened)
  }

  private func read(_ opened: Recording, _ what: String) -> Report {
    let progress = Progress(what)
    defer { progress.finish() }
    return Report(of: opened, choosing: recording.isChosen, progress: progress.show)
  }

  private func limited<Row>(_ rows: [Row]) -> [Row] { Array(rows.prefix(limit ?? rows.count)) }

  private func finish(_ report: Report, of opened: Recording) {
    complainOf(report.problems, in: recording.directory)
    if !json { write(reportClosing(report, of: opened) + "\n", to: 2) }
  }
}
