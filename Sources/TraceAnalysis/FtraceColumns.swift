// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Units

/// The columns of ftrace's function_graph tracer: ` 0) + 10.500 us   |  `.
struct FtraceColumns: ReplayColumns {
  let showsWaits = false
  let showsValues = false
  let colours: ReplayColours
  let shown: (String) -> String

  func writeHeader(to out: inout TextBuffer) {
    out.add("# tracer: function_graph\n#\n")
    out.add("# CPU  DURATION                  FUNCTION CALLS\n")
    out.add("# |     |   |                     |   |   |   |\n")
  }

  func write(_ lane: ThreadLane, at time: ClockUnits, duration: UInt64?, to out: inout TextBuffer) {
    out.add(" 0) ")
    if let duration {
      writeDuration(duration, to: &out)
    } else {
      out.add("              |  ")
    }
  }

  func writePlace(_ lane: ThreadLane, at time: ClockUnits, to out: inout TextBuffer) {
    out.add(" 0)               |  ")
  }

  func writeLost(_ count: UInt64, to out: inout TextBuffer) {
    out.add("CPU:0 [LOST ")
    out.add(count)
    out.add(" EVENTS]")
  }

  /// A mark, microseconds with at most seven digits, `us`, and room to the column's end.
  private func writeDuration(_ nanoseconds: UInt64, to out: inout TextBuffer) {
    let mark = Self.mark(nanoseconds)
    if mark == " " {
      out.add("  ")
    } else {
      out.add(colours.mark)
      out.add(mark)
      out.add(colours.end)
      out.add(" ")
    }
    let (microseconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1000)
    var width = TextBuffer.digits(microseconds)
    out.add(microseconds)
    if width < 7 {
      let digits = min(3, 7 - width)
      out.add(".")
      out.add(digits == 3 ? rest : digits == 2 ? rest / 10 : rest / 100, width: digits)
      width += 1 + digits
    }
    out.add(" us ")
    out.add(spaces: 8 - width)
    out.add("|  ")
  }

  private static func mark(_ nanoseconds: UInt64) -> String {
    switch nanoseconds {
    case 1_000_000_001...: "$"
    case 100_000_001...: "@"
    case 10_000_001...: "*"
    case 1_000_001...: "#"
    case 100_001...: "!"
    case 10_001...: "+"
    default: " "
    }
  }

  func writeSwitch(from old: ThreadLane, to new: ThreadLane, to out: inout TextBuffer) {
    let rule = " ------------------------------------------"
    for line in [rule, " 0) \(task(old)) => \(task(new))", rule] {
      // Each line by itself: a pager resets colours at a line's end.
      out.add(colours.dim)
      out.add(line)
      out.add(colours.end)
      out.endLine()
    }
    out.endLine()
  }

  /// `comm-pid` in the middle of 14 columns, comm cut to 7 as ftrace cuts it.
  private func task(_ lane: ThreadLane) -> String {
    let text = "\(shownThreadName(lane.name, most: 7, shown))-\(lane.thread.id)"
    let space = max(0, 14 - text.count)
    return String(repeating: " ", count: space / 2) + text
      + String(repeating: " ", count: space - space / 2)
  }
}
