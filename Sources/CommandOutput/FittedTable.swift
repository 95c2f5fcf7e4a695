// SPDX-License-Identifier: Apache-2.0

import TextFormat

/// A table that fits a terminal: where it is too wide, columns are left out, and then texts are cut.
public struct FittedTable {
  /// A column's head and side, and when it goes.
  public struct Column: Sendable {
    var title: String
    var alignment: TextTable.Alignment
    var dropped: Int?
    var isText: Bool

    /// Numbers, to the right. `dropped`: of the columns that may be left out, the lowest goes first;
    /// nil: it stays.
    public static func number(_ title: String, dropped: Int? = nil) -> Column {
      Column(title: title, alignment: .right, dropped: dropped, isText: false)
    }

    /// Text, to the left: it may be cut.
    public static func text(_ title: String, dropped: Int? = nil) -> Column {
      Column(title: title, alignment: .left, dropped: dropped, isText: true)
    }
  }

  private let columns: [Column]
  private var rows: [[String]] = []
  private static let gap = 2
  /// A text of so many characters, or all of it, is to be seen before numbers are.
  private static let wanted = 32
  private static let least = 8

  /// An empty table.
  public init(_ columns: [Column]) { self.columns = columns }

  /// A cell for each column.
  public mutating func add(_ cells: [String]) { rows.append(cells) }

  /// A table as it is shown, each line with a newline.
  public struct Lines: Sendable {
    /// The columns' heads.
    public var heading: String
    /// A line for each row.
    public var rows: [String]
    /// The columns that are in it, by their places.
    public var kept: [Int]
  }

  /// Lines that are at most so wide; nil: as wide as they are.
  public func lines(width: Int?) -> Lines {
    let full = columns.indices.map { column in
      rows.reduce(columns[column].title.count) { max($0, $1[column].count) }
    }
    var kept = Array(columns.indices)
    var widths = full
    if let width { (kept, widths) = fit(full, width) }
    let table = TextTable(
      kept.map { .init(columns[$0].title, columns[$0].alignment, width: widths[$0]) },
      gap: Self.gap)
    func line(_ cells: [String]) -> String {
      table.line(kept.map { cut(cells[$0], widths[$0], isText: columns[$0].isText) })
    }
    return Lines(heading: line(columns.map(\.title)), rows: rows.map(line), kept: kept)
  }

  /// Which columns stay, and how wide each is.
  private func fit(_ full: [Int], _ width: Int) -> (kept: [Int], widths: [Int]) {
    var kept = Array(columns.indices)
    func taken(_ widths: [Int]) -> Int {
      kept.reduce(0) { $0 + widths[$1] } + Self.gap * max(0, kept.count - 1)
    }
    let wanted = columns.indices.map { columns[$0].isText ? min(full[$0], Self.wanted) : full[$0] }
    while taken(wanted) > width,
      let next = kept.filter({ columns[$0].dropped != nil })
        .min(by: { (columns[$0].dropped ?? 0) < (columns[$1].dropped ?? 0) })
    {
      kept.removeAll { $0 == next }
    }
    var widths = full
    // The widest text is cut first.
    while taken(widths) > width,
      let widest = kept.filter({ columns[$0].isText && widths[$0] > Self.least })
        .max(by: { widths[$0] < widths[$1] })
    {
      widths[widest] -= 1
    }
    return (kept, widths)
  }

  private func cut(_ text: String, _ width: Int, isText: Bool) -> String {
    isText ? CommandOutput.cut(text, to: width) : text
  }
}

/// A line that is at most so wide; where its end is cut off, it ends in `…`.
public func cut(_ line: String, to width: Int) -> String {
  let isWhole = line.hasSuffix("\n")
  let text = isWhole ? line.dropLast() : line[...]
  if text.count <= width { return line }
  return text.prefix(max(0, width - 1)) + "…" + (isWhole ? "\n" : "")
}
