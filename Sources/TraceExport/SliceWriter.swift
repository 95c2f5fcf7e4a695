// SPDX-License-Identifier: Apache-2.0

import RecordingReader

/// What is said about the beginning or the end of a slice that is not simply a call's.
enum SliceNote: String {
  case unwound = "ended without returning: an exception, longjmp or the thread's end"
  case stillOpen = "still open at the thread's last event"
  case cutOff = "events are missing from here on: when it ended is not known"
  case startMissing = "entered earlier, where events are missing"
  case switchedAway = "the thread left this stack: the next slice of this name continues the call"
  case switchedBack = "continues the slice before it of this name: not another call"
}

/// What a slice has besides its name and its times.
struct SliceDetails {
  var note: SliceNote?
  /// Of its beginning.
  var arguments: [CallArgument] = []
  /// Of its end.
  var result: CallValue?

  static let none = SliceDetails()

  var isEmpty: Bool { note == nil && arguments.isEmpty && result == nil }
}

/// A thread that is being exported.
struct ExportedThread {
  var process: ProcessRecording
  var thread: ThreadRecording
  /// When its first event was, in nanoseconds.
  var startTime: UInt64
  fileprivate let clock: ExportClock

  init(_ process: ProcessRecording, _ thread: ThreadRecording, _ clock: ExportClock) {
    self.process = process
    self.thread = thread
    self.clock = clock
    startTime = clock.nanoseconds(thread.startTime ?? clock.origin)
  }

  /// The program's file name, or its pid.
  var processName: String {
    process.program?.split(separator: "/").last.map(String.init) ?? "process \(process.pid)"
  }
  /// The thread's name, or its id.
  var threadName: String { thread.name.isEmpty ? "thread \(thread.id)" : thread.name }
}

extension ExportedThread {
  /// A time off the CPU, in nanoseconds since the recording's start.
  struct Absence: Equatable {
    var from, to: UInt64
    /// It could have run, and another thread did; else it waited for something.
    var isRunnable: Bool
  }

  /// Calls `body` with each of its times off the CPU that are known, from its first event to `end`.
  func forEachAbsence(until end: UInt64, _ body: (Absence) -> Void) {
    for interval in thread.offCPU?.intervals ?? [] {
      let absence = Absence(
        from: clock.nanoseconds(interval.from), to: clock.nanoseconds(interval.to),
        isRunnable: interval.isRunnable)
      if absence.to > startTime && absence.from < end { body(absence) }
    }
  }
}

/// Writes one format: it gets slices that nest properly, thread after thread.
///
/// Times are in nanoseconds since the recording's start and never fall within a thread.
protocol SliceWriter {
  mutating func begin(_ thread: ExportedThread) throws
  mutating func open(
    _ function: ExportedFunction, _ functions: borrowing ExportedFunctions, at time: UInt64,
    _ details: SliceDetails)
  mutating func close(_ function: ExportedFunction, at time: UInt64, _ details: SliceDetails)
  /// A call of which only the entry is known.
  mutating func instant(
    _ function: ExportedFunction, _ functions: borrowing ExportedFunctions, at time: UInt64,
    _ details: SliceDetails)
  /// So many events were not recorded here; 0: how many is not known.
  mutating func lost(_ events: UInt64, at time: UInt64)
  /// The thread's last event was at `time`.
  mutating func end(_ thread: ExportedThread, at time: UInt64) throws
  /// Throws where writing has failed; called now and then.
  func check() throws
}
