// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import RecordingReader
import TextFormat
import TraceAnalysis

/// The table of `nopscope report`, for people.
struct ReportTable {
  let report: Report
  /// Those that are shown.
  let rows: [ReportRow]
  let columns: [ReportColumn]
  /// Those of a table for programs.
  private let rawColumns: [ReportColumn]
  private let sums: ReportSums
  private let marks: ModuleMarks
  private let paths: ShortPaths
  private let files: ShortPaths

  init(_ report: Report, _ rows: [ReportRow], columns: [ReportColumn]?) {
    self.report = report
    self.rows = rows
    let modules = Set(report.rows.map(\.function.modulePath))
    let hasLoads = report.rows.contains { $0.loads > 1 }
    let standard = ReportColumn.standard(report)
    rawColumns = columns ?? standard
    // The name of the only module says nothing, nor does a column without any source line.
    let hasSources = report.rows.contains { $0.function.source != nil }
    self.columns =
      columns
      ?? standard.filter {
        ($0 != .module || modules.count > 1 || hasLoads) && ($0 != .source || hasSources)
      }
    sums = ReportSums(report.rows)
    marks = ModuleMarks(report.rows)
    paths = ShortPaths(Set(report.rows.compactMap(\.function.modulePath)))
    files = ShortPaths(Set(report.rows.compactMap(\.function.source?.file)))
  }

  /// Where threads were stuck, and the table. On a terminal, which is `width` wide, what is not shown
  /// is said.
  func text(width: Int?, bold: (String) -> String) -> String {
    var lines = fitted(columns, width)
    // Without modules, functions of one name are told apart.
    if let place = columns.firstIndex(of: .module), !lines.kept.contains(place) {
      lines = fitted(columns.filter { $0 != .module }, width)
    }
    var text = openStacksText(report.openStacks, width: width, bold: bold)
    text += bold(lines.heading) + lines.rows.joined()
    let more = report.rows.count - rows.count
    if more > 0 && width != nil { text += "\(grouped(more)) more: --limit 0\n" }
    return text
  }

  /// Whether the heading is its first line: else where threads were stuck comes before it.
  var beginsWithHeading: Bool { stuck(report.openStacks).isEmpty }

  private func fitted(_ columns: [ReportColumn], _ width: Int?) -> FittedTable.Lines {
    let hasModules = columns.contains(.module)
    var table = FittedTable(columns.map(\.tableColumn))
    for row in rows {
      let cells = cells(of: row)
      table.add(
        columns.map { column in
          column == .function && !hasModules
            ? neutralised(marks.marked(row.label, module: row.function.modulePath))
            : cells.text(column)
        })
    }
    return table.lines(width: width)
  }

  private func cells(of row: ReportRow) -> ReportCells {
    ReportCells(
      row: row, sums: sums, module: row.function.modulePath.map { paths[$0] } ?? "?",
      source: row.function.source.map { "\(files[$0.file]):\($0.line)" } ?? "")
  }

  /// For programs: a line of the columns' names, then one a row (RFC 4180, with single newlines).
  var csv: String {
    let lines = rows.map { row in
      let cells = cells(of: row)
      return rawColumns.map { csvField(cells.raw($0)) }.joined(separator: ",")
    }
    return ([rawColumns.map(\.rawValue).joined(separator: ",")] + lines).map { $0 + "\n" }.joined()
  }
}

/// What threads were in when their process ended: the longest first, those of one stack once.
///
/// The main thread of a process that ended by exit was in exit; that is left out.
func openStacksText(_ all: [OpenStack], width: Int?, bold: (String) -> String) -> String {
  var groups: [(stack: OpenStack, count: Int)] = []
  var places: [[String]: Int] = [:]
  for stack in stuck(all) {
    let key = stack.calls.map(\.function)
    if let place = places[key] {
      groups[place].count += 1
    } else {
      places[key] = groups.count
      groups.append((stack, 1))
    }
  }
  if groups.isEmpty { return "" }
  var table = FittedTable([.number("STILL OPEN"), .text("THREAD"), .text("CALLS, INNERMOST FIRST")])
  let most = 10
  for (stack, count) in groups.prefix(most) {
    let thread =
      count == 1
      ? "\(stack.threadName) (\(stack.thread))" : "\(stack.threadName), \(count) threads"
    let calls = stack.calls.map(\.function).joined(separator: " < ")
    let more = stack.depth > stack.calls.count ? " < …" : ""
    table.add([
      stack.calls.first?.nanoseconds.map(durationText) ?? "-", neutralised(thread),
      neutralised(calls) + more,
    ])
  }
  let lines = table.lines(width: width)
  let rest = groups.count > most ? "\(grouped(groups.count - most)) more\n" : ""
  return bold(lines.heading) + lines.rows.joined() + rest + "\n"
}

/// Those of them that say something.
private func stuck(_ all: [OpenStack]) -> [OpenStack] {
  all.filter { !($0.hasEnded && $0.isMain) }
}

/// `9,412 calls of 31 functions in 2 threads, 4 still open; 0 events lost`.
///
/// `rows` says how many rows of what the report has; nil: functions.
func reportClosing(_ report: Report, of recording: Recording, rows: String? = nil) -> String {
  var line = "\(counted(report.calls, "call")) of "
  line +=
    "\(rows ?? counted(report.rows.count, "function")) in \(counted(report.threads, "thread"))"
  if report.stillOpen > 0 { line += ", \(grouped(report.stillOpen)) still open" }
  if report.unwound > 0 { line += ", \(grouped(report.unwound)) unwound" }
  if report.cutOff > 0 { line += ", \(grouped(report.cutOff)) cut off by gaps" }
  let isBeginningLost = recording.processes.contains { process in
    process.isOverwriting && process.threads.contains(where: \.isStartMissing)
  }
  if isBeginningLost { line += "; earlier events were overwritten" }
  return "\(line); \(lossText(report.lostEvents, recording))"
}
