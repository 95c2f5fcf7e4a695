// SPDX-License-Identifier: Apache-2.0

import CUnloadLab
import Glibc

/// Nanoseconds of the monotonic clock.
func monotonicNanoseconds() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Nanoseconds of one call of `function`: the least of several rounds, since on a shared machine
/// noise only adds.
func nanosecondsPerCall(
  _ function: @convention(c) () -> Void, calls: UInt64 = 200_000, rounds: Int = 7
) -> Double {
  let least = (0..<rounds).map { _ in nul_time_calls(function, calls) }.min() ?? 0
  return Double(least) / Double(calls)
}

extension String {
  /// Filled up with spaces behind; marks of the terminal count for nothing.
  func padded(to width: Int) -> String {
    self + String(repeating: " ", count: Swift.max(0, width - visibleLength))
  }

  func leftPadded(to width: Int) -> String {
    String(repeating: " ", count: Swift.max(0, width - visibleLength)) + self
  }

  var visibleLength: Int {
    var length = 0
    var isMark = false
    for character in self {
      if character == "{" { isMark = true }
      if !isMark { length += 1 }
      if character == "}" { isMark = false }
    }
    return length
  }
}
