// SPDX-License-Identifier: Apache-2.0

/// Columns as wide as their widest cell, numbers to the right, the last one as it is.
struct TextTable {
  private let header: [String]
  private var rows: [[String]] = []
  /// The first columns, of numbers.
  private let rightAligned: Int

  init(_ header: [String], rightAligned: Int) {
    self.header = header
    self.rightAligned = rightAligned
  }

  mutating func add(_ cells: [String]) { rows.append(cells) }

  func text() -> String {
    let all = [header] + rows
    let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    var text = ""
    for row in all {
      var line = ""
      for (column, cell) in row.enumerated() {
        let space = String(repeating: " ", count: widths[column] - cell.count)
        let isLast = column == row.count - 1
        line += column > 0 ? "  " : ""
        line += column < rightAligned ? space + cell : cell + (isLast ? "" : space)
      }
      text += line + "\n"
    }
    return text
  }
}

/// `1.234 us`: three decimals in the largest unit that keeps the number at 1 or more.
func durationText(_ nanoseconds: Double) -> String {
  let size = abs(nanoseconds)
  if size < 999.5 { return "\(Int(nanoseconds.rounded())) ns" }
  let units: [(name: String, size: Double)] = [("us", 1e3), ("ms", 1e6), ("s", 1e9)]
  let unit = units.first { size < 999.9995 * $0.size } ?? (name: "s", size: 1e9)
  let thousandths = (size / unit.size * 1000).rounded()
  guard thousandths < 9e15 else { return "\(nanoseconds / 1e9) s" }
  let (whole, part) = Int(thousandths).quotientAndRemainder(dividingBy: 1000)
  let digits = String(part)
  let zeros = String(repeating: "0", count: 3 - digits.count)
  return "\(nanoseconds < 0 ? "-" : "")\(whole).\(zeros)\(digits) \(unit.name)"
}

func durationText(_ nanoseconds: Int) -> String { durationText(Double(nanoseconds)) }
