// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import RecordingReader
import TextFormat
import TraceAnalysis

/// What the rows of `nopscope diff` are sorted by.
enum DifferenceOrder: String, CaseIterable {
  case change, ratio, before, after, name
}

/// What `nopscope diff` and `report --diff` show: one figure of each function, before and after.
struct DifferenceTable {
  let rows: [DifferenceRow]
  let column: ReportColumn
  var order = DifferenceOrder.change
  private let sums: (before: ReportSums, after: ReportSums)

  /// A recording, and what was read of it.
  typealias Side = (opened: Recording, report: Report)

  /// `column`: nil: own times where both have them, else calls. `renaming`: see `difference`; the two
  /// programs are the same whatever their files are called.
  init(
    _ before: Side, _ after: Side, column: ReportColumn? = nil, renaming: [String: String] = [:]
  ) {
    var pairs = renaming
    if let old = Self.program(before.opened), let new = Self.program(after.opened), old != new {
      pairs[old] = pairs[old] ?? new
    }
    rows = difference(from: before.report, to: after.report, renaming: pairs)
    let hasTimes = before.report.hasTimes && after.report.hasTimes
    self.column = column ?? (hasTimes ? .self : .calls)
    sums = (ReportSums(before.report.rows), ReportSums(after.report.rows))
  }

  /// The name of the file that was run.
  private static func program(_ recording: Recording) -> String? {
    recording.processes.first?.program?.split(separator: "/").last.map(String.init)
  }

  private func value(_ row: ReportRow?, _ sums: ReportSums) -> Double? {
    row.flatMap { ReportCells(row: $0, sums: sums, module: "").number(column) }
  }

  private func before(_ row: DifferenceRow) -> Double? { value(row.before, sums.before) }
  private func after(_ row: DifferenceRow) -> Double? { value(row.after, sums.after) }
  private func change(_ row: DifferenceRow) -> Double { (after(row) ?? 0) - (before(row) ?? 0) }

  /// Names from A to Z, numbers from the highest to the lowest; rows of one number stay in order.
  var sorted: [DifferenceRow] {
    if order == .name {
      return rows.sorted { ($0.label, $0.modulePath ?? "") < ($1.label, $1.modulePath ?? "") }
    }
    let keyed = rows.enumerated().map { (key(of: $0.element), $0.offset, $0.element) }
    return keyed.sorted { $0.0 != $1.0 ? $0.0 > $1.0 : $0.1 < $1.1 }.map(\.2)
  }

  /// Below all that is known where the row does not have it.
  private func key(of row: DifferenceRow) -> Double {
    switch order {
    case .change, .name: abs(change(row))
    case .before: before(row) ?? -1
    case .after: after(row) ?? -1
    case .ratio: growth(of: row) ?? -1
    }
  }

  /// How many times the figure is what it was: a new function's is without bound, that of one that is gone 0.
  private func growth(of row: DifferenceRow) -> Double? {
    guard let old = before(row) else { return .infinity }
    guard let new = after(row) else { return 0 }
    return old > 0 ? new / old : nil
  }

  /// The document of `--json`; `limit` 0: all rows.
  func document(limit: Int) -> DifferenceDocument {
    DifferenceDocument(limit == 0 ? sorted : Array(sorted.prefix(limit)))
  }

  /// `limit` 0: all of them. On a terminal, which is `width` wide, what is not shown is said.
  func text(limit: Int, width: Int?) -> String {
    let all = sorted
    let marks = ModuleMarks(all)
    let name = column.rawValue.uppercased()
    var table = FittedTable([
      .number("\(name) BEFORE"), .number("AFTER"), .number("×"), .number("CHANGE"),
      .text("FUNCTION"),
    ])
    for row in limit == 0 ? all[...] : all.prefix(limit) {
      table.add([
        figure(before(row)), figure(after(row)), ratio(row), signed(change(row)),
        neutralised(marks.marked(row.label, module: row.modulePath)),
      ])
    }
    let lines = table.lines(width: width)
    let more = limit == 0 || width == nil ? 0 : all.count - limit
    return headingText(lines.heading) + lines.rows.joined()
      + (more > 0 ? "\(grouped(more)) more: --limit 0\n" : "")
  }

  private func figure(_ value: Double?) -> String {
    guard let value else { return "-" }
    return column == .calls ? grouped(Int(value)) : durationText(value)
  }

  private func ratio(_ row: DifferenceRow) -> String {
    if before(row) == nil { return "new" }
    if after(row) == nil { return "gone" }
    return growth(of: row).map { fixed($0, 2) } ?? "-"
  }

  private func signed(_ value: Double) -> String { (value > 0 ? "+" : "") + figure(value) }

  /// A line for each function whose figure grew by more than `percent`, if it is 1 % of the whole.
  func grown(by percent: Double) -> [String] {
    let whole = column == .calls ? sums.after.calls : sums.after.selfTime
    return sorted.compactMap { row in
      let (old, new) = (before(row) ?? 0, after(row) ?? 0)
      let share = column == .calls ? new : Double(row.after?.times?.selfTime ?? 0)
      guard new > old * (1 + percent / 100), share * 100 >= whole else { return nil }
      return "\(row.label): \(column.rawValue) was \(figure(before(row))), is \(figure(after(row)))"
    }
  }
}
