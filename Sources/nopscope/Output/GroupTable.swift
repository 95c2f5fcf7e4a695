// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import TextFormat
import TraceAnalysis

/// The table of `nopscope report --by`.
struct GroupTable {
  let report: Report
  let grouping: ReportGrouping
  /// Those that are shown.
  let rows: [GroupRow]
  private let paths: ShortPaths
  private let selfSum: Double
  private let hasWaits: Bool

  init(_ report: Report, _ grouping: ReportGrouping, _ rows: [GroupRow]) {
    self.report = report
    self.grouping = grouping
    self.rows = rows
    paths = ShortPaths(Set(report.groups.compactMap(\.name)))
    hasWaits = ReportColumn.showsWaits(
      report.groups.map { ($0.selfTime ?? 0, $0.selfWait) })
    selfSum = report.groups.reduce(0) { $0 + Double($1.selfTime ?? 0) }
  }

  private var hasTimes: Bool { report.groups.contains { $0.selfTime != nil } }

  /// On a terminal, which is `width` wide, what is not shown is said.
  func text(width: Int?, bold: (String) -> String) -> String {
    var table = FittedTable(columns)
    for row in rows { table.add(cells(of: row)) }
    let lines = table.lines(width: width)
    let more = report.groups.count - rows.count
    return bold(lines.heading) + lines.rows.joined()
      + (more > 0 && width != nil ? "\(grouped(more)) more: --limit 0\n" : "")
  }

  private var columns: [FittedTable.Column] {
    var columns: [FittedTable.Column] = [.number(hasTimes ? "SELF%" : "CALLS%")]
    if hasTimes { columns.append(.number("SELF")) }
    if hasWaits { columns += [.number("CPU", dropped: 1), .number("WAIT", dropped: 3)] }
    if hasTimes { columns.append(.number("TOTAL", dropped: 2)) }
    columns.append(.number("CALLS"))
    if grouping == .thread { columns.append(.number("TID")) }
    if grouping == .thread || grouping == .process { columns.append(.number("PID", dropped: 0)) }
    return columns + [.text(grouping == .process ? "PROGRAM" : grouping.rawValue.uppercased())]
  }

  private func cells(of row: GroupRow) -> [String] {
    let percent = percent(of: row).map { fixed($0, 1) + "%" } ?? "-"
    var cells = [percent]
    if hasTimes {
      let waits = hasWaits ? [cpu(row), row.selfWait] : []
      cells += ([row.selfTime] + waits + [row.total]).map { $0.map(durationText) ?? "-" }
    }
    cells.append(grouped(row.calls))
    if grouping == .thread { cells.append(row.tid.map { "\($0)" } ?? "-") }
    if grouping == .thread || grouping == .process { cells.append(row.pid.map { "\($0)" } ?? "-") }
    return cells + [name(of: row)]
  }

  private func name(of row: GroupRow) -> String {
    guard let name = row.name else { return grouping == .file ? "(not known)" : "?" }
    if grouping == .thread { return neutralised(name) }
    return neutralised(commandText(paths[name], row.arguments))
  }

  private func cpu(_ row: GroupRow) -> Int? {
    row.selfTime.flatMap { own in row.selfWait.map { own - $0 } }
  }

  private func percent(of row: GroupRow) -> Double? {
    if !hasTimes { return report.calls > 0 ? Double(row.calls) / Double(report.calls) * 100 : 0 }
    return row.selfTime.map { selfSum > 0 ? Double($0) / selfSum * 100 : 0 }
  }

  /// For programs: a line of the columns' names, then one a row; nanoseconds, whole paths, empty where
  /// something is not known. `cpu` and `wait` are there where the table has them.
  var csv: String {
    var lines = [
      "self%,self,\(hasWaits ? "cpu,wait," : "")total,calls,pid,tid,\(grouping.rawValue)"
    ]
    for row in rows {
      let times = [row.selfTime] + (hasWaits ? [cpu(row), row.selfWait] : []) + [row.total]
      let fields =
        [hasTimes ? percent(of: row).map { fixed($0, 1) } : nil]
        + times.map { $0.map { "\($0)" } }
        + ["\(row.calls)", row.pid.map { "\($0)" }, row.tid.map { "\($0)" }]
        + [row.name.map(csvField)]
      lines.append(fields.map { $0 ?? "" }.joined(separator: ","))
    }
    return lines.map { $0 + "\n" }.joined()
  }
}

/// The document `nopscope.report-by/1`.
struct GroupDocument: Encodable {
  struct Group: Encodable {
    var name: String?
    /// Of a process: the program's name first; nil: not known.
    var arguments: [String]?
    var process, thread: Int32?
    var calls: UInt64
    var selfNanoseconds, totalNanoseconds: Int?
    /// Of `selfNanoseconds`, when the thread was off the CPU; nil: not known.
    var waitNanoseconds: Int?
  }

  /// `module`, `thread`, `process` or `file`.
  var by: String
  var groups: [Group]
  var threads: Int
  var lostEvents: UInt64
  var corrupted: Bool

  init(_ report: Report, _ grouping: ReportGrouping, _ rows: [GroupRow]) {
    by = grouping.rawValue
    groups = rows.map { row in
      Group(
        name: row.name, arguments: row.arguments, process: row.pid, thread: row.tid,
        calls: row.calls,
        selfNanoseconds: row.selfTime, totalNanoseconds: row.total, waitNanoseconds: row.selfWait)
    }
    threads = report.threads
    lostEvents = report.lostEvents
    corrupted = report.isCorrupted
  }
}

extension ReportOrder {
  /// What groups have; nil for what they do not.
  func sorted(_ rows: [GroupRow]) -> [GroupRow]? {
    func by(_ value: (GroupRow) -> Double) -> [GroupRow] {
      rows.enumerated().map { (value($0.element), $0.offset, $0.element) }
        .sorted { $0.0 != $1.0 ? $0.0 > $1.0 : $0.1 < $1.1 }.map(\.2)
    }
    switch self {
    case .self: return by { Double($0.selfTime ?? -1) }
    case .total: return by { Double($0.total ?? -1) }
    case .calls: return by { Double($0.calls) }
    case .cpu:
      return by { row in
        row.selfWait.flatMap { wait in row.selfTime.map { Double($0 - wait) } } ?? -1
      }
    case .wait: return by { Double($0.selfWait ?? -1) }
    case .name: return rows.sorted { ($0.name ?? "") < ($1.name ?? "") }
    case .avg, .min, .max, .p50, .p99, .variance: return nil
    }
  }
}

/// `9,412 calls of 3 modules in 2 threads; 0 events lost`: what is counted.
func groupCount(_ report: Report, _ grouping: ReportGrouping) -> String {
  let count = report.groups.count
  return grouping == .process
    ? "\(grouped(count)) process\(count == 1 ? "" : "es")" : counted(count, grouping.rawValue)
}
