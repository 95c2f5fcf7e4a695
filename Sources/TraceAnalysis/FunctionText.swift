// SPDX-License-Identifier: Apache-2.0

import RecordingReader
public import Units

/// Writes the entries of a recording as ftrace's function tracer prints them: task, CPU (always 0:
/// it is not recorded), seconds since the recording began, function and caller.
public struct FunctionText: CallSink {
  private var out: TextBuffer
  private var names: NameCache
  private let startTime: ClockUnits
  private var entry: Frame?

  private init(
    _ out: TextBuffer, _ recording: Recording, _ shown: @escaping (String) -> String
  ) {
    self.out = out
    names = NameCache(recording, shown: shown)
    startTime = recording.startTime
  }

  /// Writes all of it; damage found on the way, one line each.
  ///
  /// `calls` is for the header.
  public static func write(
    _ recording: Recording, calls: UInt64, to out: TextBuffer,
    choosing filter: ReadingFilter = .all,
    shown: @escaping (String) -> String = { $0 }, progress: (ClockUnits) -> Void = { _ in }
  ) -> [String] {
    var text = FunctionText(out, recording, shown)
    var threads = MergedThreads(recording, choosing: filter)
    text.writeHeader(calls: calls, lost: recording.lostEvents)
    do {
      try threads.run(&text) { lane, text in
        try text.writeNext(lane)
        progress(lane.stack.time)
      }
    } catch {}
    text.out.flush()
    return threads.problems
  }

  private struct Closed: Error {}

  private mutating func writeHeader(calls: UInt64, lost: UInt64) {
    out.add("# tracer: function\n#\n")
    out.add("# entries-in-buffer/entries-written: \(calls)/\(calls &+ lost)   #P:1\n#\n")
    out.add("#           TASK-PID     CPU#     TIMESTAMP  FUNCTION\n")
    out.add("#              | |         |         |         |\n")
  }

  private mutating func writeNext(_ lane: ThreadLane) throws {
    if out.isClosed { throw Closed() }
    guard let event = lane.peek(&self) else { return }
    // The caller where the recording has no return addresses.
    let caller = lane.stack.innermost?.function
    lane.take(&self)
    if event.kind == .lost {
      out.add("CPU:0 [LOST \(event.number) EVENTS]")
      out.endLine()
    }
    guard event.kind == .entry, let frame = entry else { return }
    entry = nil
    writeTask(lane, event.time)
    out.add(names.name(frame.function, process: lane.processIndex).bytes)
    out.add(" <-")
    if let next = lane.peek(&self), next.kind == .parent {
      out.add(names.caller(next.returnAddress, time: event.time, process: lane.processIndex))
      lane.take(&self)
    } else if let caller {
      out.add(names.name(caller, process: lane.processIndex).bytes)
    } else {
      out.add("?")
    }
    out.endLine()
  }

  /// Up to the function: `            bash-1977    [000] 17284.993652: `.
  private mutating func writeTask(_ lane: ThreadLane, _ time: ClockUnits) {
    let name = names.shownName(lane.name, most: 16)
    out.add(spaces: 16 - name.count)
    out.add(name)
    let id = String(lane.thread.id)
    out.add("-")
    out.add(id)
    out.add(spaces: 7 - id.count)
    out.add(" [000] ")
    let units = time > startTime ? time - startTime : .zero
    let microseconds = UInt64(clamping: lane.process.nanoseconds(ofUnits: units)) / 1000
    let seconds = microseconds / 1_000_000
    out.add(spaces: 5 - String(seconds).count)
    out.add(seconds)
    out.add(".")
    out.add(microseconds % 1_000_000, width: 6)
    out.add(": ")
  }

  /// Notes the call: its line is printed when the event's caller is known.
  public mutating func entered(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    entry = frame
  }
  /// Prints nothing: only entries are lines.
  public mutating func resumed(_ frame: inout Frame, parentTag: Int32, depth: Int) {}
  /// Prints nothing: only entries are lines.
  public mutating func ended(_ frame: Frame, at time: ClockUnits, _ how: CallEnd, depth: Int) {}
}
