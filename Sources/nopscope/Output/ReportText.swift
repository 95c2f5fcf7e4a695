// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import RecordingReader
import TextFormat
import TraceAnalysis

/// The table of `nopscope report`.
func reportText(_ report: Report, _ rows: [ReportRow]) -> String {
  let marks = ModuleMarks(report.rows)
  func shown(_ row: ReportRow) -> String {
    neutralised(marks.marked(row.label, module: row.function.modulePath))
  }
  guard report.hasTimes else {
    var table = TextTable(["CALLS", "FUNCTION"], rightAligned: 1)
    for row in rows { table.add([grouped(row.calls), shown(row)]) }
    return table.text()
  }
  var table = TextTable(
    ["CALLS", "TOTAL", "SELF", "AVG", "MIN", "MAX", "P50", "P99", "FUNCTION"], rightAligned: 8)
  for row in rows {
    var cells = [grouped(row.calls)]
    if let times = row.times {
      cells += [times.total, times.selfTime].map { durationText($0) }
      cells += [durationText(times.average)]
      cells += [times.minimum, times.maximum].map { durationText($0) }
      cells += [times.median, times.percentile99].map { $0.map(durationText) ?? "-" }
    } else {
      cells += Array(repeating: "-", count: 7)
    }
    table.add(cells + [shown(row)])
  }
  return table.text()
}

/// `9,412 calls of 31 functions in 2 threads, 4 still open; 0 events lost`.
func reportClosing(_ report: Report, of recording: Recording) -> String {
  var line = "\(counted(report.calls, "call")) of "
  line += "\(counted(report.rows.count, "function")) in \(counted(report.threads, "thread"))"
  if report.stillOpen > 0 { line += ", \(grouped(report.stillOpen)) still open" }
  if report.unwound > 0 { line += ", \(grouped(report.unwound)) unwound" }
  if report.cutOff > 0 { line += ", \(grouped(report.cutOff)) cut off by gaps" }
  let isBeginningLost = recording.processes.contains { process in
    process.isOverwriting && process.threads.contains(where: \.isStartMissing)
  }
  if isBeginningLost { line += "; earlier events were overwritten" }
  return "\(line); \(lossText(report.lostEvents, recording))"
}

/// The table of `nopscope report --diff`; `marks` are those of all rows.
func differenceText(_ rows: [DifferenceRow], _ marks: ModuleMarks) -> String {
  var table = TextTable(
    ["CALLS", "CHANGE", "TOTAL", "CHANGE", "SELF", "CHANGE", "FUNCTION"], rightAligned: 6)
  for row in rows {
    let after = row.after
    table.add([
      grouped(after?.calls ?? 0), signed(grouped(row.calls), row.calls),
      after?.times.map { durationText($0.total) } ?? "-",
      row.total.map { signed(durationText($0), $0) } ?? "-",
      after?.times.map { durationText($0.selfTime) } ?? "-",
      row.selfTime.map { signed(durationText($0), $0) } ?? "-",
      neutralised(marks.marked(row.label, module: row.modulePath)),
    ])
  }
  return table.text()
}

private func signed(_ text: String, _ number: Int) -> String { number > 0 ? "+" + text : text }
