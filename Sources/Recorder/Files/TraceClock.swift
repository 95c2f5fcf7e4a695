// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
public import Units

/// How fast the time stamp counter ticks, measured against CLOCK_MONOTONIC since this was made: the
/// longer a recording runs, the better its time.
///
/// The kernel knows the rate and has no call that returns it. A rate measured over ten milliseconds
/// is right to some parts in a million.
public struct TraceClock: Sendable {
  /// CLOCK_REALTIME when this was made.
  public let startRealtimeNanoseconds: UInt64
  private let startTicks: UInt64
  private let startNanoseconds: UInt64

  /// Notes the time, against which the frequency is measured later.
  public init() {
    (startTicks, startNanoseconds) = Self.moment()
    startRealtimeNanoseconds = nrc_realtime_nanoseconds()
  }

  /// The TSC's frequency in Hz, measured since `init`.
  public func ticksPerSecond() -> UInt64 {
    var (ticks, nanoseconds) = Self.moment()
    while nanoseconds &- startNanoseconds < 100_000 { (ticks, nanoseconds) = Self.moment() }
    let elapsed = Double(ticks &- startTicks)
    return UInt64((elapsed * 1e9 / Double(nanoseconds &- startNanoseconds)).rounded())
  }

  /// Nanoseconds as units of 2^`NREC_TIME_SHIFT` ticks.
  public func units(nanoseconds: UInt64) -> ClockUnits {
    let ticks = Double(nanoseconds) * Double(ticksPerSecond()) / 1e9
    return ClockUnits(UInt64(min(ticks / Double(1 << NREC_TIME_SHIFT), 9e18).rounded()))
  }

  /// Units as nanoseconds.
  func nanoseconds(_ units: ClockUnits) -> UInt64 {
    let ticks = Double(units.rawValue) * Double(1 << NREC_TIME_SHIFT)
    return UInt64(min(ticks * 1e9 / Double(ticksPerSecond()), 9e18).rounded())
  }

  /// CLOCK_REALTIME at a time of a recording.
  public func realtimeNanoseconds(at time: ClockUnits) -> UInt64 {
    let ticks = time.rawValue << UInt64(NREC_TIME_SHIFT)
    let since = Double(Int64(bitPattern: ticks &- startTicks)) * 1e9 / Double(ticksPerSecond())
    return UInt64(max(0, Double(startRealtimeNanoseconds) + since))
  }

  /// Both clocks at one moment: of several tries the one that was interrupted least.
  private static func moment() -> (ticks: UInt64, nanoseconds: UInt64) {
    var best: (ticks: UInt64, nanoseconds: UInt64, width: UInt64) = (0, 0, .max)
    for _ in 0..<5 {
      let before = nrc_ticks()
      let nanoseconds = nrc_monotonic_nanoseconds()
      let width = nrc_ticks() &- before
      if width < best.width { best = (before &+ width / 2, nanoseconds, width) }
    }
    return (best.ticks, best.nanoseconds)
  }
}
