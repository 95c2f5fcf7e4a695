// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A table's heading: bold where stdout takes colours. `line` ends in a newline.
public func headingText(_ line: String) -> String {
  isOutputColoured ? "\u{1b}[1m\(line.dropLast())\u{1b}[0m\n" : line
}

/// Whether stdout takes colours: a terminal that is not dumb, and NO_COLOR is not set.
public var isOutputColoured: Bool {
  let noColour = getenv("NO_COLOR").map { $0.pointee != 0 } ?? false
  let isDumb = getenv("TERM").map { String(cString: $0) == "dumb" } ?? true
  return !noColour && !isDumb && isatty(1) == 1
}
