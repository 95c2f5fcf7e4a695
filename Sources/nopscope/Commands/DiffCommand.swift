// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import FunctionNames
import RecordingReader
import TraceAnalysis

extension DifferenceOrder: ExpressibleByArgument {}

struct DiffCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff",
    abstract: "Compare two recordings, function by function.",
    discussion: """
      One line a function, the largest change first: the figure before and after, how many times it \
      is (×), and the change. --sort ratio sorts by the third, from the highest to the lowest: new \
      functions first, those that are gone last. Functions are the same where their linked names and their files' names are; \
      the two programs are compared with one another even if their files have other names. --map \
      old.so=new.so says so of libraries.

      EXAMPLES
        nopscope diff old.data new.data
        nopscope diff old.data --column p99 --sort ratio
        nopscope diff old.data new.data --fail-if +10%
        nopscope diff old.data new.data --map libparse-1.so=libparse-2.so

      EXIT STATUS
        0  both recordings were read
        1  one of them cannot be read
        3  a function is beyond --fail-if; stderr names it
        64 the command line is wrong
      """)

  @Argument(help: "The older recording's directory.", completion: .directory)
  var before: String

  @Argument(help: "The newer recording's directory.", completion: .directory)
  var after = defaultRecording

  @Option(help: "Compare self, total, calls, avg, p50, p99, min or max. Default: self, else calls.")
  var column: String?

  @Option(help: "Sort by change (up or down), ratio (×), before, after or name. Default: change.")
  var sort = DifferenceOrder.change

  @Option(
    help: ArgumentHelp(
      "Take the module of one file's name for the same as another's.", valueName: "old=new"))
  var map: [String] = []

  @Option(
    name: .customLong("fail-if"),
    help: ArgumentHelp(
      """
      End with status 3 if a function's figure grew by more than this and it has 1 % of the whole: \
      +10%.
      """, valueName: "+N%"))
  var failIf: String?

  @Option(help: "Show only this many functions; 0: all. Default: 25 on a terminal, else all.")
  var limit: Int?

  @Option(help: "How functions are named: short, full or linked.")
  var names = NameStyle.short

  @Flag(help: "Write one JSON document, schema nopscope.report-diff/1.")
  var json = false

  private static let columns: [ReportColumn] = [
    .self, .total, .calls, .avg, .p50, .p99, .min, .max,
  ]

  func validate() throws {
    if let limit, limit < 0 { throw ValidationError("--limit \(limit): expected 0 or more") }
    if let column, chosen(column) == nil {
      let all = Self.columns.map(\.rawValue).joined(separator: ", ")
      throw ValidationError("--column '\(column)': expected one of \(all)")
    }
    _ = try renaming()
    _ = try growth()
  }

  private func chosen(_ text: String) -> ReportColumn? {
    ReportColumn(rawValue: text.lowercased()).flatMap { Self.columns.contains($0) ? $0 : nil }
  }

  private func renaming() throws -> [String: String] {
    var pairs: [String: String] = [:]
    for text in map {
      let sides = text.split(separator: "=", omittingEmptySubsequences: false)
      guard sides.count == 2, !sides[0].isEmpty, !sides[1].isEmpty else {
        throw ValidationError("--map '\(text)': expected OLD=NEW, two names of files")
      }
      pairs[String(sides[0])] = String(sides[1])
    }
    return pairs
  }

  /// Percent; nil: nothing fails.
  private func growth() throws -> Double? {
    guard let failIf else { return nil }
    guard failIf.hasPrefix("+"), failIf.hasSuffix("%"),
      let number = Double(failIf.dropFirst().dropLast()), number >= 0
    else { throw ValidationError("--fail-if '\(failIf)': expected a growth such as +10%") }
    return number
  }

  func run() throws {
    let recordings = try (read(before), read(after))
    var table = DifferenceTable(
      recordings.0, recordings.1, column: column.flatMap(chosen), renaming: try renaming())
    table.order = sort
    let most = shownRows(limit, isOnTerminal: outputWidth != nil && !json)
    if json {
      try writeJSON(table.document(limit: most), schema: "report-diff")
    } else {
      write(table.text(limit: most, width: outputWidth), to: 1)
    }
    complainOf(recordings.0.report.problems, in: before)
    complainOf(recordings.1.report.problems, in: after)
    if let bound = try growth() {
      let lines = table.grown(by: bound)
      for line in lines { complain("--fail-if +\(failIf?.dropFirst() ?? ""): \(line)") }
      if !lines.isEmpty { throw ExitCode(3) }
    }
  }

  private func read(_ directory: String) throws -> DifferenceTable.Side {
    let opened = try openRecording(directory, names)
    tellLeftOut(opened)
    let progress = Progress("reading \(directory)")
    defer { progress.finish() }
    return (opened, Report(of: opened, progress: progress.show))
  }
}
