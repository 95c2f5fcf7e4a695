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
