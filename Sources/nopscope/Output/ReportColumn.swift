// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import TextFormat
import TraceAnalysis

/// A column of `nopscope report`.
enum ReportColumn: String, CaseIterable {
  case selfPercent = "self%"
  case `self`, cpu, wait, total
  case callsPercent = "calls%"
  case calls, avg, p50, p99, min, max, variance, function, module, source, loads

  /// Own times, and how much of them was off the CPU: where that is less than 1 %, two columns would say
  /// nothing.
  static func showsWaits(_ times: [(own: Int, wait: Int?)]) -> Bool {
    let waited = times.reduce(0.0) { $0 + Double($1.wait ?? 0) }
    return waited > 0.01 * times.reduce(0.0) { $0 + Double($1.own) }
  }

  /// What a report shows if nothing else is asked for.
  static func standard(_ report: Report) -> [ReportColumn] {
    guard report.hasTimes else { return [.callsPercent, .calls, .function, .module, .source] }
    let times = report.rows.compactMap(\.times).map { (own: $0.selfTime, wait: $0.selfWait) }
    let waits: [ReportColumn] = showsWaits(times) ? [.cpu, .wait] : []
    return [.selfPercent, .self] + waits
      + [.total, .calls, .avg, .p99, .max, .function, .module, .source]
  }

  /// The columns of one argument, with commas between them; throws the word that is none.
  static func parse(_ text: String) throws(UnknownColumn) -> [ReportColumn] {
    var columns: [ReportColumn] = []
    for word in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let column = ReportColumn(rawValue: word.lowercased()) else {
        throw UnknownColumn(word: String(word))
      }
      columns.append(column)
    }
    return columns
  }

  struct UnknownColumn: Error { let word: String }

  private var isText: Bool { [.function, .module, .source].contains(self) }

  /// On a narrow terminal the columns that say least go first.
  var tableColumn: FittedTable.Column {
    let title = rawValue.uppercased()
    let order: [ReportColumn] = [
      .variance, .loads, .max, .min, .p50, .p99, .avg, .cpu, .module, .total, .wait,
    ]
    // Where a function is defined goes first of all.
    let dropped = self == .source ? -1 : order.firstIndex(of: self)
    return isText ? .text(title, dropped: dropped) : .number(title, dropped: dropped)
  }
}

/// The cells of one row.
struct ReportCells {
  let row: ReportRow
  let sums: ReportSums
  /// The module's path as it is shown.
  let module: String
  /// `FILE:LINE` as it is shown; empty: not known.
  var source = ""

  /// For people.
  func text(_ column: ReportColumn) -> String {
    switch column {
    case .selfPercent, .callsPercent: number(column).map { fixed($0, 1) + "%" } ?? "-"
    case .calls: grouped(row.calls)
    case .loads: grouped(row.loads)
    case .function: neutralised(row.label)
    case .source: source.isEmpty ? "-" : neutralised(source)
    case .module: neutralised(module) + (row.loads > 1 ? " (\(grouped(row.loads)) loads)" : "")
    case .variance: row.times?.variance.map { fixed($0, 0) + " ns²" } ?? "-"
    case .self, .cpu, .wait, .total, .avg, .p50, .p99, .min, .max:
      number(column).map(durationText) ?? "-"
    }
  }

  /// For programs: nanoseconds, nanoseconds squared, percent, counts; empty where it is not known.
  func raw(_ column: ReportColumn) -> String {
    switch column {
    case .selfPercent, .callsPercent: number(column).map { fixed($0, 1) } ?? ""
    case .calls: "\(row.calls)"
    case .loads: "\(row.loads)"
    case .function: row.label
    case .module: row.function.modulePath ?? ""
    case .source: row.function.source?.text ?? ""
    case .variance, .avg: number(column).map { "\($0)" } ?? ""
    case .self, .cpu, .wait, .total, .p50, .p99, .min, .max:
      number(column).map { "\(Int($0))" } ?? ""
    }
  }

  /// Nanoseconds, nanoseconds squared, percent or calls; nil where it is not known, or is text.
  func number(_ column: ReportColumn) -> Double? {
    switch column {
    case .calls: return Double(row.calls)
    case .loads: return Double(row.loads)
    case .callsPercent: return sums.calls > 0 ? Double(row.calls) / sums.calls * 100 : 0
    default: break
    }
    guard let times = row.times else { return nil }
    switch column {
    case .selfPercent: return sums.selfTime > 0 ? Double(times.selfTime) / sums.selfTime * 100 : 0
    case .self: return Double(times.selfTime)
    case .cpu: return times.selfWait.map { Double(times.selfTime - $0) }
    case .wait: return times.selfWait.map(Double.init)
    case .total: return Double(times.total)
    case .avg: return times.average
    case .p50: return times.median.map(Double.init)
    case .p99: return times.percentile99.map(Double.init)
    case .min: return Double(times.minimum)
    case .max: return Double(times.maximum)
    case .variance: return times.variance
    default: return nil
    }
  }
}

/// What percentages are of: all rows, those that are not shown among them.
struct ReportSums {
  var selfTime = 0.0
  var calls = 0.0

  init(_ rows: [ReportRow]) {
    for row in rows {
      selfTime += Double(row.times?.selfTime ?? 0)
      calls += Double(row.calls)
    }
  }
}

/// A field of RFC 4180: in quotes where it has a comma, a quote or a line's end.
func csvField(_ text: String) -> String {
  guard text.contains(where: { ",\"\n\r".contains($0) || $0.isNewline }) else { return text }
  return "\"" + text.replacing("\"", with: "\"\"") + "\""
}
