// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import TextFormat
import TraceAnalysis

/// What `nopscope diff` shows: one figure of each function, before and after.
struct DifferenceTable {
  let rows: [DifferenceRow]
  let column: ReportColumn
  let sums: (before: ReportSums, after: ReportSums)

  private func value(_ row: ReportRow?, _ sums: ReportSums) -> Double? {
    row.flatMap { ReportCells(row: $0, sums: sums, module: "").number(column) }
  }

  private func before(_ row: DifferenceRow) -> Double? { value(row.before, sums.before) }
  private func after(_ row: DifferenceRow) -> Double? { value(row.after, sums.after) }
  private func change(_ row: DifferenceRow) -> Double { (after(row) ?? 0) - (before(row) ?? 0) }

  /// The largest change first.
  var sorted: [DifferenceRow] {
    let keyed = rows.enumerated().map { (abs(change($0.element)), $0.offset, $0.element) }
    return keyed.sorted { $0.0 != $1.0 ? $0.0 > $1.0 : $0.1 < $1.1 }.map(\.2)
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
    guard let old = before(row) else { return "new" }
    guard let new = after(row) else { return "gone" }
    return old > 0 ? fixed(new / old, 2) : "-"
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
