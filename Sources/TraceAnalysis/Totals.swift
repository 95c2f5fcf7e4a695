// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Units

/// What is known of one function's calls.
struct FunctionTotals {
  var calls: UInt64 = 0
  /// Calls whose duration is known.
  var timed: UInt64 = 0
  /// Time in the function or what it called, recursion not counted twice.
  var total = ClockUnits.zero
  var selfTime = ClockUnits.zero
  /// The part of its own time in which the thread was off the CPU.
  var selfWaited = ClockUnits.zero
  /// Of all timed calls, those inside others of the same function included.
  var sum = ClockUnits.zero
  /// In units².
  var squares = 0.0
  var minimum = ClockUnits.max
  var maximum = ClockUnits.zero
  /// How often it is open on the own stack of the thread that is being read.
  var open: Int32 = 0

  @inline(__always)
  mutating func add(duration: ClockUnits, selfTime: ClockUnits) {
    timed &+= 1
    sum &+= duration
    self.selfTime &+= selfTime
    let units = Double(duration.rawValue)
    squares += units * units
    minimum = min(minimum, duration)
    maximum = max(maximum, duration)
  }

  mutating func add(_ other: FunctionTotals) {
    calls &+= other.calls
    timed &+= other.timed
    total &+= other.total
    selfTime &+= other.selfTime
    selfWaited &+= other.selfWaited
    sum &+= other.sum
    squares += other.squares
    minimum = min(minimum, other.minimum)
    maximum = max(maximum, other.maximum)
  }
}

/// The totals of one process's functions, over as many of its threads as are read into it.
struct TotalsTable: PassSink, Sendable {
  /// So many numbers that no module has get a row each: a damaged file may have any.
  private static let mostUnknown = 1 << 16
  /// Numbers below this are found in an array.
  private static let mostKnown: UInt64 = 1 << 22

  /// By function number: its slot, or -1.
  private var slots: [Int32]
  private var otherSlots: [UInt32: Int32] = [:]
  /// By slot.
  private(set) var numbers: [UInt32] = []
  private(set) var totals: [FunctionTotals] = []
  private(set) var histograms = HistogramPool()
  /// Calls that ended otherwise than by returning.
  private(set) var unwound: UInt64 = 0
  private(set) var stillOpen: UInt64 = 0
  private(set) var cutOff: UInt64 = 0
  /// On which the thread that is being read runs; 0: its own.
  private var stack: UInt32 = 0
  /// By stack and slot: how often it is open there. Of all stacks but threads' own.
  private var openElsewhere: [UInt64: Int32] = [:]

  /// Where functions share slots: by which key, which have one already, and the keys by slot.
  private var groupKey: (@Sendable (UInt32) -> String)?
  private var seen: [Int] = []
  private var groupSlots: [String: Int] = [:]
  private(set) var groupKeys: [String] = []

  init(_ process: ProcessRecording) {
    let last = process.modules.map { $0.firstFunction &+ UInt64($0.sites) }.max() ?? 0
    slots = Array(repeating: -1, count: Int(min(last, Self.mostKnown)))
  }

  mutating func slot(of function: UInt32) -> Int {
    let number = Int(function)
    if number < slots.count {
      if slots[number] >= 0 { return Int(slots[number]) }
      let slot = addSlot(function)
      slots[number] = Int32(slot)
      return slot
    }
    if let known = otherSlots[function] { return Int(known) }
    if otherSlots.count == Self.mostUnknown, let last = otherSlots[.max] { return Int(last) }
    let name = otherSlots.count >= Self.mostUnknown - 1 ? UInt32.max : function
    let slot = addSlot(name)
    otherSlots[name] = Int32(slot)
    return slot
  }

  /// From now on, functions for which `key` is the same share a slot.
  mutating func group(by key: @escaping @Sendable (UInt32) -> String) {
    groupKey = key
    for function in seen { slots[function] = -1 }
    seen = []
    otherSlots = [:]
  }

  private mutating func addSlot(_ function: UInt32) -> Int {
    if let groupKey { return addToGroup(groupKey(function), function) }
    return addSlot(named: function)
  }

  private mutating func addToGroup(_ key: String, _ function: UInt32) -> Int {
    if Int(function) < slots.count { seen.append(Int(function)) }
    let slot = groupSlots[key] ?? addSlot(named: function)
    if slot == groupKeys.count {
      groupSlots[key] = slot
      groupKeys.append(key)
    }
    return slot
  }

  private mutating func addSlot(named function: UInt32) -> Int {
    numbers.append(function)
    totals.append(FunctionTotals())
    histograms.addFunction()
    return totals.count - 1
  }

  mutating func entered(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    let slot = slot(of: frame.function)
    frame.tag = Int32(truncatingIfNeeded: slot)
    // Wraps: a damaged file may have brought the count to its highest value already.
    totals[slot].calls &+= 1
    if stack == 0 { totals[slot].open += 1 } else { openElsewhere[key(slot), default: 0] += 1 }
  }

  mutating func resumed(_ frame: inout Frame, parentTag: Int32, depth: Int) {
    // Not counted as open, because its start is not known: of the calls inside it, the outermost
    // one is then timed.
    frame.tag = Int32(truncatingIfNeeded: slot(of: frame.function))
  }

  mutating func ended(_ frame: Frame, at time: ClockUnits, _ how: CallEnd, depth: Int) {
    let slot = Int(frame.tag)
    if how != .returned { countEnding(how) }
    guard frame.isStartKnown else { return }
    let isOutermost = leave(slot)
    guard how.isTimed else { return }
    let duration = time - frame.start
    let selfTime = duration > frame.childTime ? duration - frame.childTime : .zero
    totals[slot].add(duration: duration, selfTime: selfTime)
    totals[slot].selfWaited &+= min(selfTime, frame.waited - min(frame.waited, frame.childWaited))
    if isOutermost { totals[slot].total &+= duration }
    histograms.count(duration.rawValue, function: slot)
  }

  @inline(__always)
  private mutating func leave(_ slot: Int) -> Bool {
    if stack != 0 { return leaveElsewhere(slot) }
    totals[slot].open -= 1
    return totals[slot].open == 0
  }

  private func key(_ slot: Int) -> UInt64 {
    UInt64(stack) << 32 | UInt64(UInt32(truncatingIfNeeded: slot))
  }

  private mutating func leaveElsewhere(_ slot: Int) -> Bool {
    let left = (openElsewhere[key(slot)] ?? 1) - 1
    openElsewhere[key(slot)] = left == 0 ? nil : left
    return left == 0
  }

  mutating func switched(to stack: UInt32, at time: ClockUnits) { self.stack = stack }

  mutating func split(_ frames: [Frame], to stack: UInt32, at time: ClockUnits) {
    let from = self.stack
    for frame in frames where frame.isStartKnown {
      _ = leave(Int(frame.tag))
      self.stack = stack
      openElsewhere[key(Int(frame.tag)), default: 0] += 1
      self.stack = from
    }
  }

  /// The next thread is read.
  mutating func endThread() {
    stack = 0
    openElsewhere = [:]
  }

  private mutating func countEnding(_ how: CallEnd) {
    switch how {
    case .unwound: unwound += 1
    case .stillOpen: stillOpen += 1
    case .cutOff: cutOff += 1
    case .returned, .entryOnly: break
    }
  }

  /// Adds what other threads of the process have, which come later in the recording.
  mutating func add(_ next: TotalsTable) {
    for (slot, number) in next.numbers.enumerated() {
      let isGroup = slot < next.groupKeys.count
      let here = isGroup ? addToGroup(next.groupKeys[slot], number) : self.slot(of: number)
      totals[here].add(next.totals[slot])
      histograms.add(function: slot, of: next.histograms, to: here)
    }
    unwound += next.unwound
    stillOpen += next.stillOpen
    cutOff += next.cutOff
  }

  /// A call tree's node: calls without times.
  mutating func add(_ node: TreeNode) {
    totals[slot(of: node.function)].calls &+= node.calls
  }

  mutating func add(_ entry: ProfileEntry, hasTimes: Bool) {
    let slot = slot(of: entry.function)
    var added = FunctionTotals()
    added.calls = entry.calls
    if hasTimes && entry.endedCalls > 0 {
      added.timed = entry.endedCalls
      added.total = entry.totalTime
      added.sum = entry.sumTime
      added.selfTime = entry.selfTime
      added.squares = entry.totalSquares
      added.minimum = entry.minimumTime
      added.maximum = entry.maximumTime
    }
    totals[slot].add(added)
  }
}
