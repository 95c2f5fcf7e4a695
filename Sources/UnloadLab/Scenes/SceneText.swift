// SPDX-License-Identifier: Apache-2.0

import TextFormat

/// A part of a scene's text, before it is fitted to a width.
///
/// Text may hold `marks`; the code that prints it replaces or drops them.
public enum SceneText: Sendable, Equatable {
  /// An empty line.
  case blank
  /// Words, broken where a line is full.
  case paragraph(String)
  /// A term and words on it, which stay to the right of `width` columns.
  case item(String, String, width: Int)
  /// One line as it is, of `narrowest` columns at most. What is beyond is cut off.
  case line(String)

  /// What the code that prints replaces by an escape sequence, or drops.
  public static let marks = ["{good}", "{bad}", "{warn}", "{dim}", "{code}", "{head}", "{/}"]
  /// Every line of a scene fits so many columns.
  public static let narrowest = 60
  private static let indent = "  "

  /// The lines for so many columns, `narrowest` at least; control characters made visible.
  public func lines(width: Int) -> [String] {
    switch self {
    case .blank: return [""]
    case .paragraph(let words):
      return wrapped(words, first: Self.indent, rest: Self.indent, width: width)
    case .item(let term, let words, let column):
      let head = Self.indent + neutralised(term).padded(to: column)
      let rest = String(repeating: " ", count: Self.indent.count + column)
      return wrapped(words, first: head, rest: rest, width: width)
    case .line(let line):
      let line = Self.indent + neutralised(line)
      return [line.visibleLength <= width ? line : String(line.withoutMarks.prefix(width))]
    }
  }
}

/// The words of `text` in lines of at most `width` columns, if every word fits one.
///
/// The first line begins with `first`, the others with `rest`. Marks take no column.
public func wrapped(_ text: String, first: String, rest: String, width: Int) -> [String] {
  var lines: [String] = []
  var line = first
  var isEmpty = true
  for word in neutralised(text).split(separator: " ") {
    if !isEmpty, line.visibleLength + 1 + String(word).visibleLength > width {
      lines.append(line)
      (line, isEmpty) = (rest, true)
    }
    line += isEmpty ? word : " " + word
    isEmpty = false
  }
  return lines + [line]
}

extension String {
  /// Filled up with spaces behind; marks of the terminal count for nothing.
  func padded(to width: Int) -> String {
    self + String(repeating: " ", count: Swift.max(0, width - visibleLength))
  }

  func leftPadded(to width: Int) -> String {
    String(repeating: " ", count: Swift.max(0, width - visibleLength)) + self
  }

  /// The columns that it takes once its marks are replaced.
  public var visibleLength: Int { withoutMarks.count }

  var withoutMarks: String {
    guard contains("{") else { return self }
    return SceneText.marks.reduce(self) { $0.replacing($1, with: "") }
  }
}
