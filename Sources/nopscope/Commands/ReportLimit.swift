// SPDX-License-Identifier: Apache-2.0

import Filters
import TextFormat
import TraceAnalysis

/// `--fail-if 'parse_*.p99>1ms'`: a figure that no function may have.
struct ReportLimit {
  /// The condition as the user wrote it.
  let text: String
  private let rule: FilterRule
  private let column: ReportColumn
  private let isGreater: Bool
  private let bound: Double

  private static let times: [ReportColumn] = [.self, .total, .avg, .p50, .p99, .min, .max]

  /// Throws one line that says what is wrong.
  init(_ text: String) throws(LimitError) {
    self.text = text
    guard let sign = text.lastIndex(where: { $0 == ">" || $0 == "<" }) else {
      throw LimitError("'\(text)': expected FUNCTION.COLUMN>VALUE, such as 'parse_*.p99>1ms'")
    }
    isGreater = text[sign] == ">"
    let left = text[..<sign]
    guard let dot = left.lastIndex(of: "."),
      let column = ReportColumn(rawValue: left[left.index(after: dot)...].lowercased()),
      Self.times.contains(column) || [.calls, .selfPercent, .callsPercent].contains(column)
    else {
      throw LimitError(
        "'\(text)': expected a column before '\(text[sign])': .self, .total, .avg, .p50, .p99, "
          + ".min, .max, .calls, .self% or .calls%")
    }
    self.column = column
    do {
      rule = try FilterRule(String(left[..<dot]))
    } catch {
      throw LimitError("\(error)")
    }
    let value = String(text[text.index(after: sign)...])
    if Self.times.contains(column) {
      guard let span = TimeSpan(argument: value) else {
        throw LimitError("'\(text)': expected a time such as 1.5ms, found '\(value)'")
      }
      bound = Double(span.nanoseconds)
    } else {
      let digits = column == .calls ? value : value.replacing("%", with: "")
      guard let number = Double(digits), number >= 0 else {
        throw LimitError("'\(text)': expected a number, found '\(value)'")
      }
      bound = number
    }
  }

  /// A line for each function that is beyond it: `parse_line: p99 is 2.400 ms`; nil where it fits none.
  func violations(_ report: Report) -> [String]? {
    let sums = ReportSums(report.rows)
    var hasMatch = false
    var lines: [String] = []
    for row in report.rows {
      let module = ModuleSpellings(path: row.function.modulePath ?? "")
      let name = FunctionSpellings(row.function.rawName ?? row.label)
      guard rule.matches(function: name, module: module) else { continue }
      hasMatch = true
      let cells = ReportCells(row: row, sums: sums, module: "")
      guard let value = cells.number(column) else { continue }
      if isGreater ? value > bound : value < bound {
        lines.append("\(row.label): \(column.rawValue) is \(cells.text(column))")
      }
    }
    return hasMatch ? lines : nil
  }
}

/// Why a condition cannot be understood: one line.
struct LimitError: Error {
  let description: String

  init(_ description: String) { self.description = description }
}
