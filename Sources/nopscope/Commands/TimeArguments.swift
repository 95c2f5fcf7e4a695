// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import RecordingReader

/// `10us`: a time with its unit.
struct TimeSpan: ExpressibleByArgument {
  var nanoseconds: UInt64

  init?(argument: String) {
    let units: [(String, Double)] = [("ns", 1), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)]
    for (unit, factor) in units where argument.hasSuffix(unit) {
      guard let number = Double(argument.dropLast(unit.count)), number >= 0,
        number * factor <= 9e18
      else { return nil }
      nanoseconds = UInt64((number * factor).rounded())
      return
    }
    return nil
  }
}

/// A moment of a recording: `1.5s` after its start, or `14:03:05.25` by the clock on the wall.
struct TimePoint: ExpressibleByArgument {
  /// Nanoseconds since the recording's start, or since midnight.
  let nanoseconds: Int
  let isOfDay: Bool

  private static let day = 86_400_000_000_000

  init?(argument: String) {
    text = argument
    let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
    if parts.count == 1 {
      guard let span = TimeSpan(argument: argument) else { return nil }
      nanoseconds = Int(clamping: span.nanoseconds)
      isOfDay = false
      return
    }
    guard parts.count == 3, let hours = Int(parts[0]), let minutes = Int(parts[1]),
      let seconds = Double(parts[2]), (0..<24).contains(hours), (0..<60).contains(minutes),
      seconds >= 0, seconds < 61
    else { return nil }
    nanoseconds = (hours * 60 + minutes) * 60_000_000_000 + Int((seconds * 1e9).rounded())
    isOfDay = true
  }

  /// As it was given.
  let text: String

  /// Nanoseconds since the recording's start. A time of day is the first after midnight of the day on
  /// which the recording began; if it is before the start, it is the next day's.
  func sinceStart(of recording: Recording) -> Int {
    guard isOfDay else { return nanoseconds }
    let start = recording.wallClock.nanosecondsOfDay
    return nanoseconds >= start ? nanoseconds - start : nanoseconds - start + Self.day
  }
}
