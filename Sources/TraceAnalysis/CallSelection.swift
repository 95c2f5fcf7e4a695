// SPDX-License-Identifier: Apache-2.0

import Filters
import RecordingReader
import Units

/// Which calls of one thread a sink gets. The times of those it gets are their own: what is left out
/// of a call stays out of its own time.
public struct CallSelection: Sendable {
  /// Those that began then or later.
  var from: ClockUnits?
  /// Those that began before.
  var to: ClockUnits?
  /// Only these functions and what they call; nil: all.
  var functions: SelectedFunctions?
  /// By number in the order of their beginnings: whether a call lasted long enough; nil: all did.
  var longCalls: [UInt64]?
  private var calls = 0

  init(from: ClockUnits?, to: ClockUnits?, functions: SelectedFunctions?) {
    self.from = from
    self.to = to
    self.functions = functions
  }

  /// Says of a call that begins whether the sink gets it, and at which depth.
  mutating func place(_ frame: inout Frame, under outside: Frame?) {
    let isLong = isLong()  // counts each call
    let isInside = outside?.isInside ?? false
    frame.isInside = isInside || (functions?.contains(frame.function) ?? true)
    frame.isShown = frame.isInside && isInTime(frame) && isLong
    frame.shownDepth = (outside?.shownDepth ?? 0) + (outside?.isShown == true ? 1 : 0)
  }

  /// A call whose entry is not in the recording began at an unknown time.
  private func isInTime(_ frame: Frame) -> Bool {
    if let from, !frame.isStartKnown || frame.start < from { return false }
    if let to, frame.start >= to { return false }
    return true
  }

  private mutating func isLong() -> Bool {
    guard let longCalls else { return true }
    let (word, bit) = calls.quotientAndRemainder(dividingBy: 64)
    calls += 1
    return word >= longCalls.count ? calls > LongCalls.most : longCalls[word] >> bit & 1 == 1
  }
}

/// Functions of a process by rules. Each is looked at when it is met first.
struct SelectedFunctions: Sendable {
  private enum State: UInt8 { case unknown, isIn, isOut }
  private static let largest = 1 << 24

  private let process: ProcessRecording
  private let filter: SiteFilter
  private var states: [State] = []

  init(_ process: ProcessRecording, _ rules: [FilterRule]) {
    self.process = process
    filter = SiteFilter(filter: rules)
  }

  mutating func contains(_ function: UInt32) -> Bool {
    let number = Int(function)
    guard number < Self.largest else { return decide(function) }
    if number >= states.count {
      states += Array(repeating: .unknown, count: number + 1 - states.count)
    }
    if states[number] == .unknown { states[number] = decide(function) ? .isIn : .isOut }
    return states[number] == .isIn
  }

  private func decide(_ function: UInt32) -> Bool {
    let number = UInt64(function)
    let name = process.function(number)
    let module = ModuleSpellings(path: name.modulePath ?? "")
    let linked = name.rawName ?? name.label(number: number)
    return filter.choice(function: linked, module: module) == .wanted
  }
}

/// Finds the calls of a thread that lasted long enough: one bit each.
struct LongCalls: CallSink {
  static let most = Int(Int32.max)
  let minimum: ClockUnits
  private(set) var bits: [UInt64] = []
  private var calls = 0

  init(minimum: ClockUnits) { self.minimum = minimum }

  mutating func entered(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    if calls & 63 == 0 && calls < Self.most { bits.append(0) }
    frame.tag = calls < Self.most ? Int32(calls) : -1
    calls += 1
  }

  mutating func resumed(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    entered(&frame, parentTag: parentTag, depth: depth)
  }

  mutating func ended(_ frame: Frame, at time: ClockUnits, _ how: CallEnd, depth: Int) {
    guard how.isTimed, frame.isStartKnown, frame.tag >= 0, time - frame.start >= minimum else {
      return
    }
    bits[Int(frame.tag >> 6)] |= 1 << (UInt64(frame.tag) & 63)
  }
}
