// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TraceAnalysis
import Units

/// What was exported, and what the viewer shows otherwise than it was.
public struct ExportSummary: Sendable {
  /// Calls in the export.
  public internal(set) var calls: UInt64 = 0
  /// Functions that were called.
  public internal(set) var functions = 0
  /// Threads that were exported.
  public internal(set) var threads = 0
  /// Bytes that were written.
  public internal(set) var bytes: UInt64 = 0
  /// Events that the recording has lost.
  public internal(set) var lostEvents: UInt64 = 0
  /// Calls that ended without returning; that had not ended; whose end lies in a gap; of which only
  /// the entry is known. All are part of `calls`.
  public internal(set) var unwound: UInt64 = 0
  /// Calls that had not ended.
  public internal(set) var stillOpen: UInt64 = 0
  /// Calls whose end lies in a gap.
  public internal(set) var cutOff: UInt64 = 0
  /// Calls of which only the entry is known.
  public internal(set) var entryOnly: UInt64 = 0
  /// Slices of calls whose entry is missing: not part of `calls`.
  public internal(set) var startMissing: UInt64 = 0
  /// Calls the format cannot hold.
  public internal(set) var leftOut: UInt64 = 0
  /// Damage found on the way, one line each.
  public internal(set) var problems: [String] = []
}

/// Nanoseconds since the recording's start.
struct ExportClock {
  let origin: ClockUnits
  /// Nanoseconds per unit.
  let scale: Double

  @inline(__always)
  func nanoseconds(_ time: ClockUnits) -> UInt64 {
    if time <= origin { return 0 }
    let nanoseconds = (Double((time - origin).rawValue) * scale).rounded()
    // Ten years: the clock of a damaged file.
    return nanoseconds < 0x1p58 ? UInt64(nanoseconds) : 1 << 58
  }
}

/// Makes slices that nest out of one thread's calls.
struct SliceStream<Writer: SliceWriter>: CallSink {
  var writer: Writer
  var functions: ExportedFunctions
  var summary = ExportSummary()
  private var clock = ExportClock(origin: .zero, scale: 1)
  private var entryOnly = FunctionSet()
  private var hasExits = true
  /// Of the slices that are open: the thread's own stack's, then those of the stack that runs. Viewers
  /// know one stack a thread, so the slices of others are closed while they are suspended.
  private var open: [ExportedFunction] = []
  private var stack: UInt32 = 0
  /// How many of `open` are the own stack's, while another runs.
  private var ownDepth = 0
  private var suspended: [UInt32: [ExportedFunction]] = [:]
  private(set) var lastTime: UInt64 = 0
  /// Events before the one before them: they are shown at its time.
  private(set) var stopped = 0
  /// Slices split because a stack below them ended first.
  private var moved = 0
  /// A file made to be slow is not followed beyond.
  private let mostMoved = 1 << 22
  private(set) var values: ValueCache
  private var process: (recording: ProcessRecording, index: Int)?

  init(_ writer: Writer, _ values: ValueCache) {
    self.writer = writer
    self.values = values
    functions = ExportedFunctions()
  }

  mutating func begin(
    _ process: ProcessRecording, _ index: Int, _ clock: ExportClock, _ set: FunctionSet
  ) {
    self.process = (process, index)
    self.clock = clock
    entryOnly = set
    hasExits = process.tracer != .function
    functions.begin(process)
  }

  mutating func beginThread() {
    open = []
    suspended = [:]
    stack = 0
    ownDepth = 0
    lastTime = 0
    moved = 0
  }

  @inline(__always)
  private mutating func time(_ units: ClockUnits) -> UInt64 {
    let time = clock.nanoseconds(units)
    if time >= lastTime { lastTime = time } else { stopped += 1 }
    return lastTime
  }

  mutating func values(_ values: RecordedValues) { self.values.keep(values) }

  private mutating func arguments(_ frame: Frame) -> SliceDetails {
    guard values.isOn, let process else { return .none }
    let found = values.arguments(frame.function, process: process.recording, index: process.index)
    return SliceDetails(arguments: found ?? [])
  }

  private mutating func result(_ frame: Frame) -> SliceDetails {
    guard values.isOn, let process else { return .none }
    let found = values.result(frame.function, process: process.recording, index: process.index)
    return SliceDetails(result: found)
  }

  mutating func entered(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    let function = functions.function(frame.function)
    summary.calls &+= 1
    if !hasExits || entryOnly.contains(frame.function) {
      summary.entryOnly &+= 1
      writer.instant(function, functions, at: time(frame.start), arguments(frame))
    } else {
      open.append(function)
      writer.open(function, functions, at: time(frame.start), arguments(frame))
    }
  }

  mutating func resumed(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    let function = functions.function(frame.function)
    summary.startMissing &+= 1
    open.append(function)
    writer.open(function, functions, at: time(frame.start), SliceDetails(note: .startMissing))
  }

  mutating func ended(_ frame: Frame, at time: ClockUnits, _ how: CallEnd, depth: Int) {
    if how == .entryOnly { return }
    let details = how == .returned ? result(frame) : SliceDetails(note: note(how))
    let now = self.time(time)
    let depth = ownDepth + depth
    if depth == open.count - 1 {
      writer.close(open.removeLast(), at: now, details)
    } else if open.indices.contains(depth) {
      closeInside(depth, at: now, details)
    }
  }

  mutating func switched(to stack: UInt32, at units: ClockUnits) {
    let now = time(units)
    if self.stack != 0 { suspend(open.count - ownDepth, self.stack, at: now) }
    self.stack = stack
    ownDepth = stack == 0 ? 0 : open.count
    for function in suspended.removeValue(forKey: stack) ?? [] {
      open.append(function)
      writer.open(function, functions, at: now, SliceDetails(note: .switchedBack))
    }
  }

  mutating func split(_ frames: [Frame], to stack: UInt32, at units: ClockUnits) {
    suspend(frames.count, stack, at: time(units))
  }

  private mutating func suspend(_ count: Int, _ stack: UInt32, at time: UInt64) {
    let part = Array(open.suffix(count))
    open.removeLast(part.count)
    for function in part.reversed() {
      writer.close(function, at: time, SliceDetails(note: .switchedAway))
    }
    if !part.isEmpty { suspended[stack] = part }
  }

  private mutating func note(_ how: CallEnd) -> SliceNote? {
    switch how {
    case .unwound:
      summary.unwound &+= 1
      return .unwound
    case .stillOpen:
      summary.stillOpen &+= 1
      return .stillOpen
    case .cutOff:
      summary.cutOff &+= 1
      return .cutOff
    case .returned, .entryOnly: return nil
    }
  }

  /// A call ended under others that belong to another stack and go on: viewers know one stack a
  /// thread, so that those are closed and opened again.
  private mutating func closeInside(_ depth: Int, at time: UInt64, _ details: SliceDetails) {
    let inner = open[(depth + 1)...]
    moved += inner.count
    if moved > mostMoved {
      writer.close(open.remove(at: depth), at: time, details)
      return
    }
    for function in inner.reversed() {
      writer.close(function, at: time, SliceDetails(note: .switchedAway))
    }
    writer.close(open[depth], at: time, details)
    for function in inner {
      writer.open(function, functions, at: time, SliceDetails(note: .switchedBack))
    }
    open.remove(at: depth)
  }

  mutating func lost(_ events: UInt64, at units: ClockUnits) {
    writer.lost(events, at: time(units))
  }
}
