// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TextFormat
public import Units

/// Writes a recording call by call, all threads in the order of time.
///
/// Its columns are people's, or those of ftrace's function_graph tracer. What ftrace has no line for is
/// in a comment: a function that ended without returning closes with `} /* f unwound */`.
public enum FunctionGraphText {
  /// Writes all of it; damage found on the way, one line each.
  public static func write(
    _ recording: Recording, to out: TextBuffer, choosing filter: ReadingFilter = .all,
    as layout: ReplayLayout = .ftrace, colours: ReplayColours = .none,
    shown: @escaping (String) -> String = { $0 }, progress: (ClockUnits) -> Void = { _ in }
  ) -> [String] {
    func write(_ columns: some ReplayColumns) -> [String] {
      GraphWriter.write(recording, to: out, filter, columns, colours, shown, progress)
    }
    switch layout {
    case .ftrace: return write(FtraceColumns(colours: colours, shown: shown))
    case .sinceStart:
      return write(TimedColumns(recording, filter, colours, shown, clock: nil))
    case .ofDay:
      return write(TimedColumns(recording, filter, colours, shown, clock: recording.wallClock))
    }
  }
}

/// Writes one layout: a type of its own for each, so that a column costs no search for its code.
private struct GraphWriter<Columns: ReplayColumns>: CallSink {
  private var out: TextBuffer
  private var names: NameCache
  private let colours: ReplayColours
  private var columns: Columns
  private let shown: (String) -> String
  /// The lane whose event is being written.
  private var lane: ThreadLane?
  private var entry: (frame: Frame, depth: Int)?
  private var values: ValueCache
  /// Of `entry`; nil: they were not recorded.
  private var arguments: [CallArgument]?
  private var isLeaf = false

  private init(
    _ out: TextBuffer, _ recording: Recording, _ colours: ReplayColours, _ columns: Columns,
    _ shown: @escaping (String) -> String
  ) {
    self.out = out
    self.colours = colours
    self.columns = columns
    names = NameCache(recording, shown: shown)
    values = ValueCache(recording, isOn: columns.showsValues)
    self.shown = shown
  }

  static func write(
    _ recording: Recording, to out: TextBuffer, _ filter: ReadingFilter, _ columns: Columns,
    _ colours: ReplayColours, _ shown: @escaping (String) -> String,
    _ progress: (ClockUnits) -> Void
  ) -> [String] {
    var text = GraphWriter(out, recording, colours, columns, shown)
    var threads = MergedThreads(recording, choosing: filter, wantsValues: text.values.isOn)
    columns.writeHeader(to: &text.out)
    do {
      try threads.run(&text) { lane, text in
        try text.writeNext(lane)
        progress(lane.stack.time)
      }
    } catch {}
    text.out.flush()
    return threads.problems
  }

  /// The reader has closed its end.
  private struct Closed: Error {}

  private mutating func writeNext(_ next: ThreadLane) throws {
    if out.isClosed { throw Closed() }
    if next !== lane {
      if let lane { columns.writeSwitch(from: lane, to: next, to: &out) }
      lane = next
    }
    let event = next.peek(&self)
    if event?.kind == .lost { writeLost(event?.number ?? 0) }
    next.take(&self)
    guard event?.kind == .entry, entry != nil else { return }
    if next.peek(&self)?.kind == .exit {
      isLeaf = true
      next.take(&self)
      isLeaf = false
      entry = nil
    } else {
      writeEntry()
    }
  }

  /// Keeps them for the call.
  mutating func values(_ values: RecordedValues) { self.values.keep(values) }

  /// Holds the call back: it may be a leaf, which is one line.
  mutating func entered(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    entry = (frame, depth)
    if values.isOn { arguments = values.arguments(frame.function, lane) }
  }

  /// Prints nothing: the call was printed when it was entered.
  mutating func resumed(_ frame: inout Frame, parentTag: Int32, depth: Int) {}

  /// Prints a leaf's line, or the closing brace.
  mutating func ended(_ frame: Frame, at time: ClockUnits, _ how: CallEnd, depth: Int) {
    // Another thread's calls end with its own events only, so `lane` is the frame's.
    switch how {
    case .entryOnly:
      entry = nil
      line(frame.start, nil, depth)
      addCall(frame)
      out.add(";")
      out.endLine()
    case .cutOff, .stillOpen: entry = nil
    case .returned where isLeaf:
      line(frame.start, time - frame.start, depth)
      addCall(frame)
      addResult(frame)
      out.add(";")
      addWait(frame)
      out.endLine()
    case .returned, .unwound: writeClose(frame, at: time, how, depth)
    }
  }
}

// MARK: - Lines

extension GraphWriter {
  /// ftrace knows one stack a thread; the calls that follow are another's.
  mutating func switched(to stack: UInt32, at time: ClockUnits) {
    guard let lane else { return }
    columns.writePlace(lane, at: time, to: &out)
    out.add(colours.dim)
    out.add("/* ")
    out.add(stack == 0 ? "own stack" : "stack ")
    if stack != 0 { out.add(UInt64(stack)) }
    out.add(" */")
    out.add(colours.end)
    out.endLine()
  }

  /// Indentation stops growing here, and the depth is written as a number: an event of two bytes
  /// under a million open calls would be a line of two million.
  private static var widest: Int { 256 }
  /// Nanoseconds: a switch alone takes as long.
  private static var leastWait: Int { 5000 }

  private mutating func name(_ frame: Frame) -> NameCache.Name {
    names.name(frame.function, process: lane?.processIndex ?? 0)
  }

  /// `main()`, `zoo::fib(int)`; with arguments `main(argc=1)`, and `zoo::fib(int)(n=3)`.
  private mutating func addCall(_ frame: Frame) {
    let name = name(frame)
    out.add(name.bytes)
    guard let arguments, !arguments.isEmpty else {
      if !name.hasParameters { out.add("()") }
      return
    }
    self.arguments = nil
    out.add("(" + shown(arguments.map(\.text).joined(separator: ", ")) + ")")
  }

  private mutating func addResult(_ frame: Frame) {
    guard values.isOn, let result = values.result(frame.function, lane) else { return }
    out.add(" = " + shown(result.text))
  }

  private mutating func writeEntry() {
    guard let (frame, depth) = entry else { return }
    entry = nil
    line(frame.start, nil, depth)
    addCall(frame)
    out.add(" {")
    out.endLine()
  }

  private mutating func writeClose(
    _ frame: Frame, at time: ClockUnits, _ how: CallEnd, _ depth: Int
  ) {
    line(time, frame.isStartKnown ? time - frame.start : nil, depth)
    out.add("}")
    if how == .returned { addResult(frame) }
    if how == .unwound || !frame.isStartKnown {
      out.add(colours.dim)
      out.add(" /* ")
      out.add(name(frame).bytes)
      out.add(how == .unwound ? " unwound */" : " */")
      out.add(colours.end)
    }
    addWait(frame)
    out.endLine()
  }

  /// How long its thread was off the CPU in the function itself.
  private mutating func addWait(_ frame: Frame) {
    guard let lane, columns.showsWaits, frame.waited > frame.childWaited else { return }
    let nanoseconds = lane.process.nanoseconds(ofUnits: frame.waited - frame.childWaited)
    guard nanoseconds >= Self.leastWait else { return }
    out.add(colours.dim)
    out.add("  /* off the CPU ")
    out.add(durationText(nanoseconds))
    out.add(" */")
    out.add(colours.end)
  }

  /// The columns and the indentation.
  private mutating func line(_ time: ClockUnits, _ duration: ClockUnits?, _ depth: Int) {
    if let lane {
      let nanoseconds = duration.map {
        UInt64(clamping: lane.process.nanoseconds(ofUnits: $0))
      }
      columns.write(lane, at: time, duration: nanoseconds, to: &out)
    }
    out.add(spaces: 2 * min(depth, Self.widest))
    if depth > Self.widest {
      out.add("[")
      out.add(UInt64(depth))
      out.add("] ")
    }
  }

  private mutating func writeLost(_ count: UInt64) {
    columns.writeLost(count, to: &out)
    out.endLine()
  }
}
