// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import RecordingSchema
import Synchronization
public import Units

/// When one thread was off the CPU, from the earliest on. Times in which it could have run count too.
public struct OffCPU: Sendable {
  /// A time off the CPU.
  public struct Interval: Sendable, Equatable {
    /// When it left the CPU.
    public var from: ClockUnits
    /// When it came back.
    public var to: ClockUnits
    /// It could have run, and another thread did; else it waited for something.
    public var isRunnable: Bool

    /// From one time to a later one.
    public init(from: ClockUnits, to: ClockUnits, isRunnable: Bool = false) {
      self.from = from
      self.to = to
      self.isRunnable = isRunnable
    }
  }

  /// From the earliest on; they do not overlap.
  public let intervals: [Interval]
  @usableFromInline var next = 0
  @usableFromInline var passed = ClockUnits.zero
  /// Before it nothing changes.
  @usableFromInline var change = ClockUnits.max

  /// A thread that was off the CPU at these times: ascending, and apart from one another.
  public init(_ intervals: [Interval]) {
    self.intervals = intervals
    change = intervals.first?.from ?? .max
  }

  /// How long it was off the CPU before a time, which must not be before that of the last question.
  @inlinable
  public mutating func total(until time: ClockUnits) -> ClockUnits {
    if time < change { return passed }
    return advance(time)
  }

  @usableFromInline
  mutating func advance(_ time: ClockUnits) -> ClockUnits {
    while next < intervals.count, intervals[next].to <= time {
      passed &+= intervals[next].to - intervals[next].from
      next += 1
    }
    change = next < intervals.count ? intervals[next].from : .max
    return time > change ? passed &+ (time - change) : passed
  }
}

/// The file `switches` of a recording, read when it is first needed.
final class SwitchTimes: Sendable {
  private struct State {
    var isRead = false
    var byThread: [Int32: [OffCPU.Interval]] = [:]
    var lost: UInt64 = 0
    var problem: String?
  }

  /// 64 million switches: what is beyond is not read.
  private static let longestFile: UInt64 = 1 << 30

  private let path: String
  private let timeShift: UInt64
  private let state = Mutex(State())

  init(recording: String, timeShift: Int?) {
    path = "\(recording)/\(RecordingFormat.switchesName)"
    self.timeShift = UInt64(timeShift ?? Int(NREC_TIME_SHIFT))
  }

  /// Switches that found no room; those times are unknown.
  var lost: UInt64 { read(\.lost) }
  /// What is wrong with the file, one line.
  var problem: String? { read(\.problem) }
  /// Whether any thread's times are known.
  var isThere: Bool { read { !$0.byThread.isEmpty } }

  func offCPU(_ thread: Int32) -> OffCPU? { read { $0.byThread[thread].map { OffCPU($0) } } }

  private func read<Value>(_ body: (State) -> Value) -> Value {
    state.withLock { state in
      if !state.isRead {
        state.isRead = true
        readFile(&state)
      }
      return body(state)
    }
  }

  private func readFile(_ state: inout State) {
    guard let file = try? OpenFile(path) else { return }
    let size = MemoryLayout<nrec_switches_header>.size
    var header = nrec_switches_header()
    let got = withUnsafeMutableBytes(of: &header) { file.read($0, at: 0) }
    guard got == size, header.magic == NREC_SWITCHES_MAGIC,
      header.last_nanoseconds > header.first_nanoseconds, header.last_ticks > header.first_ticks
    else {
      // Killed before anything was written.
      if got > 0 {
        state.problem =
          "\(RecordingFormat.switchesName): expected the head of a file of context "
          + "switches, found \(got) bytes of something else: no time off the CPU is known"
      }
      return
    }
    state.lost = header.lost
    let bytes = min(file.size, Self.longestFile) - UInt64(size)
    let count = Int(bytes) / MemoryLayout<nrec_switch>.size
    var switches = [nrec_switch](repeating: nrec_switch(), count: count)
    let read = switches.withUnsafeMutableBytes { file.read($0, at: UInt64(size)) }
    switches.removeLast(count - read / MemoryLayout<nrec_switch>.size)
    // Of one moment, a thread comes before it goes.
    switches.sort { ($0.thread, $0.nanoseconds, $0.kind) < ($1.thread, $1.nanoseconds, $1.kind) }
    pair(switches, header, &state)
  }

  /// A time off the CPU is known where a thread's departure is followed by its coming back.
  private func pair(
    _ switches: [nrec_switch], _ header: nrec_switches_header, _ state: inout State
  ) {
    var left: nrec_switch?
    for one in switches {
      if let from = left, from.thread == one.thread, one.kind == UInt32(NREC_SWITCH_IN) {
        let interval = OffCPU.Interval(
          from: units(from.nanoseconds, header), to: units(one.nanoseconds, header),
          isRunnable: from.kind == UInt32(NREC_SWITCH_PREEMPTED))
        let thread = Int32(truncatingIfNeeded: one.thread)
        if interval.to > interval.from { state.byThread[thread, default: []].append(interval) }
      }
      left = one.kind == UInt32(NREC_SWITCH_IN) ? nil : one
    }
  }

  private func units(_ nanoseconds: UInt64, _ header: nrec_switches_header) -> ClockUnits {
    let rate =
      Double(header.last_ticks - header.first_ticks)
      / Double(header.last_nanoseconds - header.first_nanoseconds)
    let since = Double(Int64(bitPattern: nanoseconds &- header.first_nanoseconds)) * rate
    let ticks = Double(header.first_ticks) + since
    guard ticks > 0, ticks < 1.8e19 else { return .zero }
    // The counter has more digits than a Double: only the difference is one.
    let exact = header.first_ticks &+ UInt64(bitPattern: Int64(since.rounded()))
    return ClockUnits(exact >> timeShift)
  }
}
