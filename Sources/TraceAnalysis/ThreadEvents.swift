// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Synchronization
import Units

/// A sink that is told the time between the events too.
protocol PassSink: CallSink {
  /// Nothing happened on the thread from the stack's time until then.
  mutating func passed(_ stack: borrowing CallStack, until time: ClockUnits)
  /// Whether it gets arguments and results.
  var wantsValues: Bool { get }
}

extension PassSink {
  var wantsValues: Bool { false }
  mutating func passed(_ stack: borrowing CallStack, until time: ClockUnits) {}
}

/// One thread of a recording, for a pass that reads it.
struct ThreadEvents {
  let process: ProcessRecording
  let processIndex: Int
  let thread: ThreadRecording
  /// Index of the thread in its process.
  let threadIndex: Int
  let entryOnly: FunctionSet
  let filter: ReadingFilter
  let recordingStart: ClockUnits
  let meter: ChunkMeter

  /// What was found beside calls.
  struct End {
    /// Damage, one line each.
    var problems: [String]
    /// Exits of calls that were not open.
    var unmatchedExits: Int
    var lostEvents: UInt64
  }

  /// Gives all calls to the sink. Those that are open at the end are seen by `beforeEnd`, and then ended.
  func read<Sink: PassSink>(
    into sink: inout Sink, beforeEnd: (borrowing CallStack) -> Void = { _ in }
  ) -> End {
    var cursor = thread.cursor()
    cursor.wantsValues = sink.wantsValues
    var stack = filter.stack(
      of: thread, in: process, entryOnly: entryOnly, recordingStart: recordingStart)
    while let event = cursor.next() {
      if event.kind == .chunk { meter.chunk() }
      sink.passed(stack, until: event.time)
      if cursor.hasValues, let values = cursor.takeValues(of: event) { sink.values(values) }
      stack.apply(event, from: cursor, to: &sink)
    }
    beforeEnd(stack)
    if let end = process.openCallsEnd { sink.passed(stack, until: end) }
    stack.finish(&sink, at: process.openCallsEnd)
    return End(
      problems: cursor.problems, unmatchedExits: stack.unmatchedExits,
      lostEvents: stack.lostEvents)
  }
}

/// The chunks that all workers have read. One of them, the caller's thread, tells how many.
struct ChunkMeter {
  final class Count: Sendable {
    private let total: Int
    private let done = Atomic(0)

    /// So many are to be read, in all passes.
    init(of total: Int) { self.total = total }

    /// The part that is done, from 0 to 1.
    func chunk() -> Double {
      let (_, done) = done.wrappingAdd(1, ordering: .relaxed)
      return min(1, Double(done) / Double(max(1, total)))
    }
  }

  let count: Count
  /// Nil: another worker tells.
  let tell: ((Double) -> Void)?

  func chunk() {
    let part = count.chunk()
    tell?(part)
  }
}
