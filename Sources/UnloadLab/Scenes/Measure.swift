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

/// `12.3`, with one digit behind the point; no Foundation here.
func decimal(_ value: Double, digits: Int = 1) -> String {
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  let scaled = (value * scale).rounded()
  guard scaled.isFinite, abs(scaled) < 1e15 else { return "\(value)" }
  let whole = Int(abs(scaled)) / Int(scale)
  let rest = Int(abs(scaled)) % Int(scale)
  let padded = String(repeating: "0", count: digits - String(rest).count) + String(rest)
  return (scaled < 0 ? "-" : "") + (digits == 0 ? "\(whole)" : "\(whole).\(padded)")
}

/// `1 site`, `1,234 sites`.
func counted(_ count: some BinaryInteger, _ noun: String) -> String {
  "\(grouped(count)) \(noun)\(count == 1 ? "" : "s")"
}

/// `1,234,567`.
func grouped(_ value: some BinaryInteger) -> String {
  var text = ""
  for (index, digit) in String(value).reversed().enumerated() {
    if index > 0, index % 3 == 0, digit != "-" { text.append(",") }
    text.append(digit)
  }
  return String(text.reversed())
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
