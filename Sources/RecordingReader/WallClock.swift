// SPDX-License-Identifier: Apache-2.0

import Glibc
public import Units

/// What the clock on the wall showed at the times of a recording.
public struct WallClock: Sendable {
  private let startRealtime: UInt64
  private let start: ClockUnits
  private let scale: Double

  init(_ recording: Recording) {
    let first = recording.processes.filter { $0.startTime > .zero }
      .min { $0.startTime < $1.startTime }
    startRealtime = first?.startRealtimeNanoseconds ?? 0
    start = first?.startTime ?? .zero
    scale = first?.scale ?? 1
  }

  /// Of the recording's start, since midnight of its day: nanoseconds, in the local time zone.
  public var nanosecondsOfDay: Int { nanosecondsOfDay(at: start) }

  /// Of a time of the recording, since midnight of its day: nanoseconds, in the local time zone.
  public func nanosecondsOfDay(at time: ClockUnits) -> Int {
    let passed = time > start ? (Double((time - start).rawValue) * scale).rounded() : 0
    let realtime = startRealtime &+ (UInt64(exactly: passed) ?? 0)
    var seconds = time_t(clamping: realtime / 1_000_000_000)
    var parts = tm()
    localtime_r(&seconds, &parts)
    let whole = (Int(parts.tm_hour) * 60 + Int(parts.tm_min)) * 60 + Int(parts.tm_sec)
    return whole * 1_000_000_000 + Int(realtime % 1_000_000_000)
  }
}

extension Recording {
  /// The clock on the wall of the machine that recorded, in this machine's time zone.
  public var wallClock: WallClock { WallClock(self) }
}
