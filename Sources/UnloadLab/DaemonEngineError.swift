// SPDX-License-Identifier: Apache-2.0

import Glibc
public import Units

/// Why the 2.6.27 engine refused.
public enum DaemonEngineError: Error, Equatable, Sendable {
  case alreadyAttached
  case notAttached
  case attachFailed(step: String, errno: Int32)
  case textRefused(InstrumentedText, errno: Int32)
  case noRecord(ip: CodeAddress)
  case notStopped(starting: Bool, thread: Int32, errno: Int32)
  case disabledItself(conversions: UInt64, limit: UInt64)
  case cycleTimedOut(milliseconds: UInt32)
}

extension DaemonEngineError: CustomStringConvertible {
  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .alreadyAttached:
      "a 2.6.27 engine is attached to this process already: detach it first"
    case .notAttached:
      "no 2.6.27 engine is attached to this process: attach it first"
    case .attachFailed(let step, let errno):
      "cannot attach the 2.6.27 engine: \(step): \(Self.text(errno))"
    case .textRefused(let text, let errno):
      "cannot open text \(text.start)-\(text.end) for writing (mcount stub "
        + "\(text.mcountStub)): \(Self.text(errno)): is the module loaded?"
    case .noRecord(let ip):
      "no record of a call site at \(ip): call its function once first"
    case .notStopped(let starting, let thread, let errno):
      "cannot \(starting ? "start" : "stop") the tracer: "
        + (thread == 0 ? "the threads could not be stopped: " : "thread \(thread) did not stop: ")
        + "\(Self.text(errno))\(thread == 0 ? "." : ": does it block signals?") Nothing was written"
    case .disabledItself(let conversions, let limit):
      "ftrace has disabled itself: \(conversions) conversions, more than \(limit): detach"
    case .cycleTimedOut(let milliseconds):
      "the daemon made no whole cycle within \(milliseconds) ms: wait longer than its interval"
    }
  }

  private static func text(_ errno: Int32) -> String { String(cString: strerror(errno)) }
}
