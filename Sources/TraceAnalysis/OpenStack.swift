// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Units

/// The calls that were open on one stack of a thread when its process ended: where it was stuck, or
/// just was.
public struct OpenStack: Sendable {
  /// So many are kept of a recording.
  public static let most = 1000
  /// So many calls are kept of a stack, the innermost.
  private static let mostCalls = 32

  /// A call that never returned.
  public struct Call: Sendable {
    /// The function's name as it is shown.
    public var function: String
    /// Since it was entered; nil where its entry is not in the recording.
    public var nanoseconds: Int?
  }

  /// The process id.
  public let process: Int32
  /// The kernel's thread id.
  public let thread: Int32
  /// The thread's name.
  public let threadName: String
  /// The thread that began the process.
  public var isMain: Bool { process == thread }
  /// The process ended by itself, by exit: its main thread was in it.
  public let hasEnded: Bool
  /// The innermost first.
  public let calls: [Call]
  /// Open calls, with those that were not kept.
  public let depth: Int
  /// How long the innermost was open: nanoseconds.
  var innermost: Int { calls.first?.nanoseconds ?? 0 }

  static func all(
    _ stack: borrowing CallStack, _ thread: ThreadRecording, _ process: ProcessRecording
  ) -> [OpenStack] {
    let end = max(stack.time, process.openCallsEnd ?? .zero)
    return stack.openStacks.prefix(most).map { frames in
      OpenStack(
        process: process.pid, thread: thread.id, threadName: thread.name,
        hasEnded: process.hasEnded,
        calls: frames.suffix(mostCalls).reversed().map { frame in
          let number = UInt64(frame.function)
          let time = frame.isStartKnown && end > frame.start ? end - frame.start : .zero
          return Call(
            function: process.function(number).label(number: number),
            nanoseconds: frame.isStartKnown ? process.nanoseconds(ofUnits: time) : nil)
        }, depth: frames.count)
    }
  }
}
