// SPDX-License-Identifier: Apache-2.0

import RecordingReader
public import Units

/// The open calls of one thread, kept by its events, stack by stack.
///
/// A call lasts from its entry to its end. Its own time is without its callees', and without the time
/// in which the thread was on other stacks: what is spent there is other calls' own time.
///
/// Events may come in any order: exits without an entry are counted and change nothing. The stack
/// holds at most `deepest` frames, whatever the recording says.
public struct CallStack {
  @usableFromInline static var deepest: Int { 1 << 20 }
  /// EXIT_AT moves the frames inside; a file made to be slow is not followed beyond this many.
  @usableFromInline static var mostMoved: Int { 1 << 30 }

  @usableFromInline var frames: [Frame] = []
  /// The stack that `frames` are of.
  private var current: UInt32 = 0
  /// Those on which calls are open and that do not run.
  private var suspended: [UInt32: Suspended] = [:]
  @usableFromInline var entryOnly: FunctionSet
  @usableFromInline let hasExits: Bool
  @usableFromInline let isSelective: Bool
  @usableFromInline var offCPU: OffCPU
  private var selection: CallSelection?
  /// Calls open beyond `deepest`.
  @usableFromInline var beyond = 0
  @usableFromInline var moved = 0
  @usableFromInline var lastTime = ClockUnits.zero

  @usableFromInline var exitsWithoutCall = 0

  /// Exits of calls that were not open.
  public var unmatchedExits: Int { exitsWithoutCall }
  /// Events of the thread that were lost up to here, as its chunks and its LOST events count them.
  public private(set) var lostEvents: UInt64 = 0

  /// `hasExits`: false for the tracer `function`. `selection`: which calls sinks get; nil: all.
  public init(
    entryOnly: FunctionSet, hasExits: Bool = true, selection: CallSelection? = nil,
    offCPU: OffCPU? = nil
  ) {
    self.offCPU = offCPU ?? OffCPU([])
    self.entryOnly = entryOnly
    self.hasExits = hasExits
    self.selection = selection
    isSelective = selection != nil
  }

  /// Of the newest event.
  public var time: ClockUnits { lastTime }
  /// Number of open calls.
  public var depth: Int { frames.count }
  /// The calls that run, the innermost first.
  func innermost(_ count: Int) -> [Frame] { frames.suffix(count).reversed() }
  /// The call that runs; nil: none is open.
  public var innermost: Frame? { frames.last }

  /// Takes one event of the cursor's.
  @inlinable
  public mutating func apply<Sink: CallSink>(
    _ event: Event, from cursor: borrowing EventCursor, to sink: inout Sink
  ) {
    switch event.kind {
    case .entry:
      lastTime = event.time
      enter(UInt32(truncatingIfNeeded: event.number), &sink)
    case .exit:
      lastTime = event.time
      if beyond > 0 { beyond -= 1 } else { pop(.returned, &sink) }
    default: applyRare(event, cursor, &sink)
    }
  }

  /// Ends all that is open when the process ended; nil: at the time of the last event.
  public mutating func finish<Sink: CallSink>(_ sink: inout Sink, at end: ClockUnits?) {
    lastTime = max(lastTime, end ?? .zero)
    endAll(.stillOpen, &sink)
  }

  /// The calls that are open, outermost first, on each stack; the one that runs comes first.
  public var openStacks: [[Frame]] {
    let others = suspended.keys.sorted().compactMap { suspended[$0]?.frames }
    return ([frames] + others).filter { !$0.isEmpty }
  }

  @inlinable
  mutating func enter<Sink: CallSink>(_ function: UInt32, _ sink: inout Sink) {
    if isSelective { return enterSelected(function, &sink) }
    var frame = Frame(function: function, start: lastTime, isStartKnown: true)
    frame.waited = offCPU.total(until: lastTime)
    let depth = frames.count
    sink.entered(&frame, parentTag: frames.last?.tag ?? -1, depth: depth)
    if !hasExits || entryOnly.contains(function) {
      sink.ended(frame, at: lastTime, .entryOnly, depth: depth)
    } else if depth == Self.deepest {
      beyond += 1
      sink.ended(frame, at: lastTime, .cutOff, depth: depth)
    } else {
      frames.append(frame)
    }
  }

  @inlinable
  mutating func pop<Sink: CallSink>(_ how: CallEnd, _ sink: inout Sink) {
    guard var frame = frames.popLast() else {
      exitsWithoutCall += 1
      return
    }
    endWait(of: &frame)
    charge(frame, toFrameAt: frames.count - 1, how)
    end(frame, how, depth: frames.count, &sink)
  }

  /// Tells the sink, which counts the depths of those calls that it gets.
  @inlinable
  func end<Sink: CallSink>(
    _ frame: Frame, _ how: CallEnd, depth: Int, _ sink: inout Sink
  ) {
    if !frame.isShown { return }
    sink.ended(
      frame, at: max(lastTime, frame.start), how,
      depth: isSelective ? Int(frame.shownDepth) : depth)
  }

  /// A caller's own time is without its callee's.
  @inlinable
  mutating func charge(_ frame: Frame, toFrameAt index: Int, _ how: CallEnd) {
    if index >= 0 && how.isTimed && lastTime > frame.start {
      frames[index].childTime &+= lastTime - frame.start
      frames[index].childWaited &+= frame.waited
    }
  }

  @inlinable
  mutating func endWait(of frame: inout Frame) {
    let total = offCPU.total(until: lastTime)
    frame.waited = total > frame.waited ? total - frame.waited : .zero
  }
}

// MARK: - Selected calls

extension CallStack {
  /// Also for calls whose entry is not in the recording.
  private mutating func select<Sink: CallSink>(
    _ frame: inout Frame, _ sink: inout Sink
  ) {
    let outside = frames.last
    let parentTag = outside?.tag ?? -1
    selection?.place(&frame, under: outside)
    guard frame.isShown else {
      // What it calls belongs to the innermost call that the sink got.
      frame.tag = parentTag
      return
    }
    let depth = isSelective ? Int(frame.shownDepth) : frames.count
    if frame.isStartKnown {
      sink.entered(&frame, parentTag: parentTag, depth: depth)
    } else {
      sink.resumed(&frame, parentTag: parentTag, depth: depth)
    }
  }

  @usableFromInline
  mutating func enterSelected<Sink: CallSink>(_ function: UInt32, _ sink: inout Sink) {
    var frame = Frame(function: function, start: lastTime, isStartKnown: true)
    frame.waited = offCPU.total(until: lastTime)
    select(&frame, &sink)
    if !hasExits || entryOnly.contains(function) {
      end(frame, .entryOnly, depth: frames.count, &sink)
    } else if frames.count == Self.deepest {
      beyond += 1
      end(frame, .cutOff, depth: frames.count, &sink)
    } else {
      frames.append(frame)
    }
  }
}

// MARK: - The rare events

extension CallStack {
  @usableFromInline
  mutating func applyRare<Sink: CallSink>(
    _ event: Event, _ cursor: borrowing EventCursor, _ sink: inout Sink
  ) {
    switch event.kind {
    case .unwound:
      lastTime = event.time
      unwind(event.number, &sink)
    case .exitAt:
      lastTime = event.time
      exit(outside: Int(clamping: event.number), &sink)
    case .switched:
      lastTime = event.time
      let stack = UInt32(truncatingIfNeeded: event.number)
      let isNew = stack != current && suspended[stack] == nil
      switchTo(stack, &sink)
      if isNew { adopt(cursor.openFunctions, at: event.time, &sink) }
    case .split:
      lastTime = event.time
      split(Int(event.number >> 32), to: UInt32(truncatingIfNeeded: event.number), &sink)
    case .lost: lostEvents &+= event.number
    case .chunk:
      // A chunk's count includes the LOST events of those before it.
      lostEvents = max(lostEvents, cursor.lostEvents)
      // Without a gap this stack is more complete: a chunk lists only as many calls as fit a part
      // of it.
      if event.number != 0 {
        if !suspended.isEmpty || current != cursor.firstStack { endAll(.cutOff, &sink) }
        if current != cursor.firstStack { switchTo(cursor.firstStack, &sink) }
        adopt(cursor.openFunctions, at: event.time, &sink)
      }
      lastTime = event.time
    case .entry, .exit, .parent: break
    }
  }

  private struct Suspended {
    var frames: [Frame]
    var beyond: Int
    var since: ClockUnits
    var sinceWaited: ClockUnits
  }

  /// A file made to need memory is not followed beyond this many stacks.
  private static var mostStacks: Int { 1 << 18 }

  private mutating func switchTo<Sink: CallSink>(_ stack: UInt32, _ sink: inout Sink) {
    if stack == current || (suspended[stack] == nil && suspended.count >= Self.mostStacks) {
      return
    }
    if !frames.isEmpty || beyond > 0 {
      suspended[current] = Suspended(
        frames: frames, beyond: beyond, since: lastTime,
        sinceWaited: offCPU.total(until: lastTime))
    }
    current = stack
    let resumed = suspended.removeValue(forKey: stack)
    frames = resumed?.frames ?? []
    beyond = resumed?.beyond ?? 0
    if let resumed, !frames.isEmpty, lastTime > resumed.since {
      // Not its own, and all of it is in the time of those outside.
      frames[frames.count - 1].childTime &+= lastTime - resumed.since
      let waited = offCPU.total(until: lastTime)
      frames[frames.count - 1].childWaited &+= waited - min(waited, resumed.sinceWaited)
    }
    sink.switched(to: stack, at: lastTime)
  }

  private mutating func split<Sink: CallSink>(_ count: Int, to stack: UInt32, _ sink: inout Sink) {
    let outside = min(beyond, count)
    let moved = min(count - outside, frames.count)
    guard moved > 0, stack != current, suspended[stack] == nil,
      suspended.count < Self.mostStacks
    else { return }
    var part = Array(frames.suffix(moved))
    frames.removeLast(moved)
    let outermost = part[0].shownDepth
    for index in part.indices { part[index].shownDepth -= outermost }
    beyond -= outside
    let waited = offCPU.total(until: lastTime)
    suspended[stack] = Suspended(
      frames: part, beyond: outside, since: lastTime, sinceWaited: waited)
    // Its caller waited for it until now.
    var outer = part[0]
    endWait(of: &outer)
    charge(outer, toFrameAt: frames.count - 1, .returned)
    sink.split(isSelective ? part.filter(\.isShown) : part, to: stack, at: lastTime)
  }

  /// Ends the calls of all stacks.
  private mutating func endAll<Sink: CallSink>(_ how: CallEnd, _ sink: inout Sink) {
    let running = current
    for stack in suspended.keys.sorted() where stack != running {
      switchTo(stack, &sink)
      while !frames.isEmpty { pop(how, &sink) }
      beyond = 0
    }
    switchTo(running, &sink)
    while !frames.isEmpty { pop(how, &sink) }
    beyond = 0
  }

  private mutating func unwind<Sink: CallSink>(_ count: UInt64, _ sink: inout Sink) {
    var count = Int(clamping: count)
    let outside = min(beyond, count)
    beyond -= outside
    count -= outside
    for _ in 0..<min(count, frames.count) { pop(.unwound, &sink) }
  }

  /// The call outside which `depth` others lie returned; those inside belong to another stack.
  private mutating func exit<Sink: CallSink>(outside depth: Int, _ sink: inout Sink) {
    guard depth < frames.count, moved < Self.mostMoved else {
      exitsWithoutCall += 1
      return
    }
    moved += frames.count - depth
    var frame = frames.remove(at: depth)
    endWait(of: &frame)
    charge(frame, toFrameAt: depth - 1, .returned)
    if isSelective && frame.isShown {
      for index in depth..<frames.count { frames[index].shownDepth -= 1 }
    }
    end(frame, .returned, depth: depth, &sink)
  }

  /// Makes the open calls those that the chunk lists: after a gap, and at the first chunk, only the
  /// chunk has them.
  private mutating func adopt<Sink: CallSink>(
    _ open: [UInt32], at time: ClockUnits, _ sink: inout Sink
  ) {
    guard hasExits else { return }
    beyond = 0
    var same = 0
    while same < frames.count && same < open.count && frames[same].function == open[same] {
      same += 1
    }
    while frames.count > same { pop(.cutOff, &sink) }
    for function in open[same...] {
      var frame = Frame(function: function, start: time, isStartKnown: false)
      frame.waited = offCPU.total(until: time)
      select(&frame, &sink)
      frames.append(frame)
    }
  }
}
