// SPDX-License-Identifier: Apache-2.0

import RecordingReader
public import Units

/// Writes a recording as ftrace's function_graph tracer prints one: all threads in the order of
/// time, as one CPU would have seen them.
///
/// The CPU is not recorded and reads 0. What ftrace has no line for is in a comment: a function
/// that ended without returning closes with `} /* f unwound */`.
public struct FunctionGraphText: CallSink {
  private var out: TextBuffer
  private var names: NameCache
  private let colours: ReplayColours
  /// The lane whose event is being written.
  private var lane: ThreadLane?
  private var entry: (frame: Frame, depth: Int)?
  private var isLeaf = false

  private init(
    _ out: TextBuffer, _ recording: Recording, _ colours: ReplayColours,
    _ shown: @escaping (String) -> String
  ) {
    self.out = out
    self.colours = colours
    names = NameCache(recording, shown: shown)
  }

  /// Writes all of it; damage found on the way, one line each.
  public static func write(
    _ recording: Recording, to out: TextBuffer, choosing isChosen: ThreadChoice = { _, _ in true },
    colours: ReplayColours = .none, shown: @escaping (String) -> String = { $0 },
    progress: (ClockUnits) -> Void = { _ in }
  ) -> [String] {
    var text = FunctionGraphText(out, recording, colours, shown)
    var threads = MergedThreads(recording, choosing: isChosen)
    text.writeHeader()
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

  private mutating func writeHeader() {
    out.add("# tracer: function_graph\n#\n")
    out.add("# CPU  DURATION                  FUNCTION CALLS\n")
    out.add("# |     |   |                     |   |   |   |\n")
  }

  private mutating func writeNext(_ next: ThreadLane) throws {
    if out.isClosed { throw Closed() }
    if next !== lane {
      if let lane { writeSwitch(from: lane, to: next) }
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

  /// Holds the call back: it may be a leaf, which is one line.
  public mutating func entered(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    entry = (frame, depth)
  }

  /// Prints nothing: the call was printed when it was entered.
  public mutating func resumed(_ frame: inout Frame, parentTag: Int32, depth: Int) {}

  /// Prints a leaf's line, or the closing brace.
  public mutating func ended(_ frame: Frame, at time: ClockUnits, _ how: CallEnd, depth: Int) {
    // Another thread's calls end with its own events only, so `lane` is the frame's.
    switch how {
    case .entryOnly:
      entry = nil
      line(nil, depth)
      addCall(frame)
      out.add(";")
      out.endLine()
    case .cutOff, .stillOpen: entry = nil
    case .returned where isLeaf:
      line(time - frame.start, depth)
      addCall(frame)
      out.add(";")
      out.endLine()
    case .returned, .unwound: writeClose(frame, at: time, how, depth)
    }
  }
}

// MARK: - Lines

extension FunctionGraphText {
  /// ftrace knows one stack a thread; the calls that follow are another's.
  public mutating func switched(to stack: UInt32, at time: ClockUnits) {
    out.add(colours.dim)
    out.add(" 0)               |  /* ")
    out.add(stack == 0 ? "own stack" : "stack ")
    if stack != 0 { out.add(UInt64(stack)) }
    out.add(" */")
    out.add(colours.end)
    out.endLine()
  }

  /// Indentation stops growing here, and the depth is written as a number: an event of two bytes
  /// under a million open calls would be a line of two million.
  private static let widest = 256

  private mutating func name(_ frame: Frame) -> [UInt8] {
    names.name(frame.function, process: lane?.processIndex ?? 0)
  }

  /// `main()`; what is demangled has its parameters already: `zoo::fib(int)`.
  private mutating func addCall(_ frame: Frame) {
    let name = name(frame)
    out.add(name)
    if !name.contains(UInt8(ascii: "(")) { out.add("()") }
  }

  private mutating func writeEntry() {
    guard let (frame, depth) = entry else { return }
    entry = nil
    line(nil, depth)
    addCall(frame)
    out.add(" {")
    out.endLine()
  }

  private mutating func writeClose(
    _ frame: Frame, at time: ClockUnits, _ how: CallEnd, _ depth: Int
  ) {
    line(frame.isStartKnown ? time - frame.start : nil, depth)
    out.add("}")
    if how == .unwound || !frame.isStartKnown {
      out.add(colours.dim)
      out.add(" /* ")
      out.add(name(frame))
      out.add(how == .unwound ? " unwound */" : " */")
      out.add(colours.end)
    }
    out.endLine()
  }

  /// ` 0) + 10.500 us   |  ` and the indentation.
  private mutating func line(_ duration: ClockUnits?, _ depth: Int) {
    out.add(" 0) ")
    if let duration, let lane {
      writeDuration(UInt64(clamping: lane.process.nanoseconds(ofUnits: duration)))
    } else {
      out.add("              |  ")
    }
    out.add(spaces: 2 * min(depth, Self.widest))
    if depth > Self.widest {
      out.add("[")
      out.add(UInt64(depth))
      out.add("] ")
    }
  }

  /// A mark, microseconds with at most seven digits, `us`, and room to the column's end.
  private mutating func writeDuration(_ nanoseconds: UInt64) {
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
    var width = String(microseconds).utf8.count
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

  private mutating func writeLost(_ count: UInt64) {
    out.add("CPU:0 [LOST ")
    out.add(count)
    out.add(" EVENTS]")
    out.endLine()
  }

  private mutating func writeSwitch(from old: ThreadLane, to new: ThreadLane) {
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
    let text = "\(names.shownName(lane.name, most: 7))-\(lane.thread.id)"
    let space = max(0, 14 - text.count)
    return String(repeating: " ", count: space / 2) + text
      + String(repeating: " ", count: space - space / 2)
  }
}
