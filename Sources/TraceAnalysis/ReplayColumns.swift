// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Units

/// What stands before each call of a replay.
public enum ReplayLayout: Sendable {
  /// ftrace's columns, for programs that read them. The CPU is not recorded and reads 0.
  case ftrace
  /// Seconds since the recording's start, the thread, the duration.
  case sinceStart
  /// The same with the time of day, in the local time zone.
  case ofDay
}

/// Writes one layout's columns.
protocol ReplayColumns {
  /// Whether comments say how long calls were off the CPU.
  var showsWaits: Bool { get }
  /// Whether calls have their arguments and results.
  var showsValues: Bool { get }
  func writeHeader(to out: inout TextBuffer)
  /// The columns of a line; `duration`: nanoseconds, nil: there is none to show.
  func write(_ lane: ThreadLane, at time: ClockUnits, duration: UInt64?, to out: inout TextBuffer)
  /// The same of a line that is no call.
  func writePlace(_ lane: ThreadLane, at time: ClockUnits, to out: inout TextBuffer)
  func writeSwitch(from old: ThreadLane, to new: ThreadLane, to out: inout TextBuffer)
  func writeLost(_ count: UInt64, to out: inout TextBuffer)
}

/// A thread's name, cut to `most` characters.
func shownThreadName(_ name: String, most: Int, _ shown: (String) -> String) -> String {
  name.isEmpty ? "<...>" : shown(String(name.prefix(most)))
}

/// `    0.000123  worker/2213   10.500 us  `.
struct TimedColumns: ReplayColumns {
  let showsWaits = true
  let showsValues = true
  private let start: ClockUnits
  private let clock: WallClock?
  private let colours: ReplayColours
  private let shown: (String) -> String
  private let threadWidth: Int
  private static let widest = 24
  private static let longestName = 15

  init(
    _ recording: Recording, _ filter: ReadingFilter, _ colours: ReplayColours,
    _ shown: @escaping (String) -> String, clock: WallClock?
  ) {
    start = recording.startTime
    self.clock = clock
    self.colours = colours
    self.shown = shown
    var width = "THREAD".count
    for process in recording.processes {
      for thread in process.threads where filter.isChosen(process, thread) {
        width = max(width, Self.label(thread.name, thread.id, shown).count)
      }
    }
    threadWidth = min(width, Self.widest)
  }

  private static func label(_ name: String, _ id: Int32, _ shown: (String) -> String) -> String {
    "\(shownThreadName(name, most: longestName, shown))/\(id)"
  }

  private var timeWidth: Int { clock == nil ? 12 : 15 }

  func writeHeader(to out: inout TextBuffer) {
    let title = clock == nil ? "SECONDS" : "TIME"
    out.add(colours.heading)
    out.add(spaces: timeWidth - title.count)
    out.add(title)
    out.add("  THREAD")
    out.add(spaces: threadWidth - "THREAD".count)
    out.add("    DURATION  CALL")
    out.add(colours.end)
    out.endLine()
  }

  func write(_ lane: ThreadLane, at time: ClockUnits, duration: UInt64?, to out: inout TextBuffer) {
    addPlace(lane, time, to: &out)
    if let duration { addDuration(duration, to: &out) } else { out.add(spaces: 10) }
    out.add("  ")
  }

  func writePlace(_ lane: ThreadLane, at time: ClockUnits, to out: inout TextBuffer) {
    addPlace(lane, time, to: &out)
    out.add(spaces: 12)
  }

  func writeSwitch(from old: ThreadLane, to new: ThreadLane, to out: inout TextBuffer) {}

  func writeLost(_ count: UInt64, to out: inout TextBuffer) {
    out.add(colours.mark)
    out.add(spaces: timeWidth + threadWidth + 16)
    out.add("/* ")
    out.add(count)
    out.add(" events lost */")
    out.add(colours.end)
  }

  private func addPlace(_ lane: ThreadLane, _ time: ClockUnits, to out: inout TextBuffer) {
    out.add(colours.dim)
    if let clock {
      addTimeOfDay(clock.nanosecondsOfDay(at: time), to: &out)
    } else {
      let passed = time > start ? time - start : .zero
      let nanoseconds = UInt64(clamping: lane.process.nanoseconds(ofUnits: passed))
      let seconds = nanoseconds / 1_000_000_000
      out.add(spaces: timeWidth - 7 - TextBuffer.digits(seconds))
      out.add(seconds)
      out.add(".")
      out.add(nanoseconds % 1_000_000_000 / 1000, width: 6)
    }
    out.add("  ")
    out.add(label(lane))
    out.add(colours.end)
    out.add("  ")
  }

  /// With blanks up to the column's end.
  private func label(_ lane: ThreadLane) -> [UInt8] {
    lane.label { name in
      let text = Self.label(name, lane.thread.id, shown)
      let blanks = String(repeating: " ", count: max(0, threadWidth - text.count))
      return Array((text + blanks).utf8)
    }
  }

  private func addTimeOfDay(_ nanoseconds: Int, to out: inout TextBuffer) {
    let seconds = UInt64(nanoseconds / 1_000_000_000)
    out.add(seconds / 3600, width: 2)
    out.add(":")
    out.add(seconds / 60 % 60, width: 2)
    out.add(":")
    out.add(seconds % 60, width: 2)
    out.add(".")
    out.add(UInt64(nanoseconds % 1_000_000_000 / 1000), width: 6)
  }

  /// Ten columns: `   950 ns`, `10.500 us`, ` 2.990 s`.
  private func addDuration(_ nanoseconds: UInt64, to out: inout TextBuffer) {
    let isLong = nanoseconds >= 1_000_000
    if isLong { out.add(colours.mark) }
    if nanoseconds < 1000 {
      out.add(spaces: 7 - TextBuffer.digits(nanoseconds))
      out.add(nanoseconds)
      out.add(" ns")
    } else {
      let (unit, name): (UInt64, StaticString) =
        nanoseconds < 1_000_000
        ? (1000, " us") : nanoseconds < 1_000_000_000 ? (1_000_000, " ms") : (1_000_000_000, " s ")
      let whole = nanoseconds / unit
      out.add(spaces: 3 - TextBuffer.digits(whole))
      out.add(whole)
      out.add(".")
      out.add(nanoseconds % unit / (unit / 1000), width: 3)
      out.add(name)
    }
    if isLong { out.add(colours.end) }
  }
}
