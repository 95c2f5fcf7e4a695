// SPDX-License-Identifier: Apache-2.0

import TextFormat

/// Columns as wide as their widest cell, or as wide as they are told to be; no blanks at the end of
/// a line.
///
/// A table that is too long to be gathered sets the widths of its columns and writes line by line.
public struct TextTable {
  /// Where a cell is in its column.
  public enum Alignment: Sendable { case left, right }

  /// A column's head, side and width.
  public struct Column: Sendable {
    /// The head of the column.
    public var title: String
    /// Where its cells and its head are.
    public var alignment: Alignment
    /// At least so many characters.
    public var width: Int

    /// A column that is at least as wide as its title.
    public init(_ title: String, _ alignment: Alignment = .left, width: Int = 0) {
      self.title = title
      self.alignment = alignment
      self.width = Swift.max(width, title.count)
    }
  }

  private let columns: [Column]
  private let gap: String
  private var rows: [[String]] = []

  /// An empty table with `gap` blanks between its columns.
  public init(_ columns: [Column], gap: Int = 2) {
    self.columns = columns
    self.gap = String(repeating: " ", count: gap)
  }

  /// The first columns, of numbers, to the right; the others to the left.
  public init(_ titles: [String], rightAligned: Int) {
    self.init(
      titles.enumerated().map { Column($0.element, $0.offset < rightAligned ? .right : .left) })
  }

  /// Cells for the first columns at least; what is missing is empty.
  public mutating func add(_ cells: [String]) { rows.append(cells) }

  /// The whole table, its head first, each line with a newline.
  public func text() -> String {
    var widths = columns.map(\.width)
    for row in rows {
      for (column, cell) in row.enumerated() { widths[column] = max(widths[column], cell.count) }
    }
    return line(columns.map(\.title), widths) + rows.map { line($0, widths) }.joined()
  }

  /// The head alone, and one row alone, in the widths that the columns were given.
  public var head: String { line(columns.map(\.title)) }

  /// One row in the widths that the columns were given, with a newline.
  public func line(_ cells: [String]) -> String { line(cells, columns.map(\.width)) }

  private func line(_ cells: [String], _ widths: [Int]) -> String {
    var text = ""
    for (column, cell) in cells.enumerated() {
      if column > 0 { text += gap }
      switch columns[column].alignment {
      case .right: text += cell.rightAligned(in: widths[column])
      case .left: text += column == cells.count - 1 ? cell : cell.leftAligned(in: widths[column])
      }
    }
    while text.last == " " { text.removeLast() }
    return text + "\n"
  }
}
