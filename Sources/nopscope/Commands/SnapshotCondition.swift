// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc

/// `handle_request>5ms`: a call of these functions that took longer than a time.
struct SnapshotCondition {
  /// As it was given.
  let text: String
  let function: String
  let limit: TimeSpan

  /// The last `>` counts: C++ has it in names.
  init(argument: String) throws {
    guard let mark = argument.lastIndex(of: ">"), mark != argument.startIndex,
      let limit = TimeSpan(argument: argument[argument.index(after: mark)...].trimmed)
    else {
      throw ValidationError(
        "--snapshot-on: expected FUNCTION>TIME, as in 'handle_request>5ms', found '\(argument)'")
    }
    text = argument
    function = argument[..<mark].trimmed
    self.limit = limit
  }
}

/// `USR2`: a signal that takes a snapshot, of those that are nobody else's.
struct SnapshotSignal {
  let number: Int32

  init(argument: String) throws {
    switch argument.hasPrefix("SIG") ? String(argument.dropFirst(3)) : argument {
    case "USR1": number = SIGUSR1
    case "USR2": number = SIGUSR2
    default: throw ValidationError("--snapshot-signal: expected USR1 or USR2, found '\(argument)'")
    }
  }
}

extension Substring {
  /// Without blanks at either end.
  fileprivate var trimmed: String {
    var text = self
    while text.first == " " { text.removeFirst() }
    while text.last == " " { text.removeLast() }
    return String(text)
  }
}
