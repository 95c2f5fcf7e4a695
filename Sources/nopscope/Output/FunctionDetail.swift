// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import TextFormat
import TraceAnalysis

/// What `nopscope report FUNCTION` shows of one function.
struct FunctionDetail {
  let row: ReportRow
  let sums: ReportSums
  let neighbours: Neighbours

  private static let quantiles: [(String, Double)] = [
    ("P50", 0.5), ("P90", 0.9), ("P99", 0.99), ("P99.9", 0.999), ("P99.99", 0.9999),
  ]
  private static let widestBar = 40
  private static let mostNeighbours = 10

  /// At most `width` wide; nil: as wide as it is.
  func text(width: Int?) -> String {
    var lines = [headingText(neutralised(title) + "\n")]
    lines.append(summary + "\n")
    if row.times != nil {
      lines.append("\n" + quantileText)
      lines.append("\n" + histogram)
    }
    lines.append("\n" + table("CALLER", neighbours.callers))
    if !neighbours.callees.isEmpty { lines.append("\n" + table("CALLEE", neighbours.callees)) }
    return lines.joined().split(separator: "\n", omittingEmptySubsequences: false)
      .map { line in width.map { cut(String(line), to: $0) } ?? String(line) }
      .joined(separator: "\n") + "\n"
  }

  private var title: String {
    row.label + (row.function.modulePath.map { "  \($0)" } ?? "")
      + (row.function.source.map { "  \($0.text)" } ?? "")
  }

  private var summary: String {
    let cells = ReportCells(row: row, sums: sums, module: "")
    var text = counted(row.calls, "call")
    if let times = row.times {
      text += ", self \(durationText(times.selfTime)) (\(cells.text(.selfPercent)))"
      text += ", total \(durationText(times.total)), average \(durationText(times.average))"
    }
    return row.loads > 1 ? text + ", \(counted(row.loads, "load")) of its module" : text
  }

  private var quantileText: String {
    var table = FittedTable(
      ["MIN"].map { .number($0) } + Self.quantiles.map { .number($0.0) } + [.number("MAX")])
    table.add(
      [row.times.map { durationText($0.minimum) } ?? "-"]
        + Self.quantiles.map { row.distribution.quantile($0.1).map(durationText) ?? "-" }
        + [row.times.map { durationText($0.maximum) } ?? "-"])
    let lines = table.lines(width: nil)
    return lines.heading + lines.rows.joined()
  }

  /// A line for each doubling of the time.
  private var histogram: String {
    let ranges = row.distribution.ranges
    guard let most = ranges.map(\.calls).max(), most > 0 else { return "" }
    var table = FittedTable([.number("FROM"), .number("TO"), .number("CALLS"), .text("")])
    for range in ranges {
      let eighths = Int(
        (Double(range.calls) / Double(most) * Double(8 * Self.widestBar)).rounded(.up))
      table.add([
        durationText(range.from), durationText(range.to), grouped(range.calls),
        Self.bar(range.calls == 0 ? 0 : eighths),
      ])
    }
    let lines = table.lines(width: nil)
    return lines.heading + lines.rows.joined()
  }

  /// Blocks, the last one in eighths.
  private static func bar(_ eighths: Int) -> String {
    let parts = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
    return String(repeating: "█", count: eighths / 8) + parts[eighths % 8]
  }

  private func table(_ title: String, _ rows: [Neighbours.Row]) -> String {
    let hasTimes = row.times != nil
    var table = FittedTable(
      (hasTimes ? [.number("TOTAL")] : []) + [.number("CALLS"), .text(title)])
    for one in rows.prefix(Self.mostNeighbours) {
      table.add(
        (hasTimes ? [durationText(one.total)] : [])
          + [grouped(one.calls), one.label.map(neutralised) ?? "(a thread's first function)"])
    }
    let more = rows.count - Self.mostNeighbours
    let lines = table.lines(width: nil)
    return lines.heading + lines.rows.joined() + (more > 0 ? "\(grouped(more)) more\n" : "")
  }
}
