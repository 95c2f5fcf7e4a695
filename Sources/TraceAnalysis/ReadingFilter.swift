// SPDX-License-Identifier: Apache-2.0

public import Filters
public import RecordingReader
import Units

/// Which threads to read.
public typealias ThreadChoice = @Sendable (ProcessRecording, ThreadRecording) -> Bool

/// What is read of a recording: the same for every command.
public struct ReadingFilter: Sendable {
  /// Everything.
  public static let all = ReadingFilter()

  /// Which threads.
  public var isChosen: ThreadChoice
  /// Calls that began so long after the recording or later: nanoseconds.
  public var from: Int?
  /// Calls that began earlier after the recording's start: nanoseconds.
  public var to: Int?
  /// These functions and what they call; all where there is no rule.
  public var functions: [FilterRule] = []
  /// Calls that lasted so long or longer: nanoseconds.
  public var minimum: Int?

  /// The threads of `isChosen`, with all of their calls.
  public init(threads isChosen: @escaping ThreadChoice = { _, _ in true }) {
    self.isChosen = isChosen
  }

  /// Whether some calls of the chosen threads are left out.
  public var selectsCalls: Bool {
    from != nil || to != nil || !functions.isEmpty || minimum != nil
  }

  /// The stack that a thread's events are applied to; its sinks get the selected calls.
  public func stack(
    of thread: ThreadRecording, in process: ProcessRecording, entryOnly: FunctionSet,
    recordingStart: ClockUnits
  ) -> CallStack {
    let hasExits = process.tracer != .function
    let all = CallStack(entryOnly: entryOnly, hasExits: hasExits, offCPU: thread.offCPU)
    guard selectsCalls else { return all }
    func units(_ nanoseconds: Int) -> ClockUnits {
      ClockUnits(UInt64(clamping: Int(clamping: Double(nanoseconds) / process.scale)))
    }
    var selection = CallSelection(
      from: from.map { recordingStart &+ units($0) }, to: to.map { recordingStart &+ units($0) },
      functions: functions.isEmpty ? nil : SelectedFunctions(process, functions))
    if let minimum {
      var long = LongCalls(minimum: units(minimum))
      var stack = all
      var cursor = thread.cursor()
      while let event = cursor.next() { stack.apply(event, from: cursor, to: &long) }
      stack.finish(&long, at: process.openCallsEnd)
      selection.longCalls = long.bits
    }
    return CallStack(
      entryOnly: entryOnly, hasExits: hasExits, selection: selection, offCPU: thread.offCPU)
  }
}

extension Int {
  fileprivate init(clamping value: Double) {
    self = Int(exactly: value.rounded()) ?? (value > 0 ? .max : 0)
  }
}
