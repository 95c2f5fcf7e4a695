// SPDX-License-Identifier: Apache-2.0

public import RecordingReader
public import Units

/// An open call.
public struct Frame: Sendable {
  /// Its number in the process.
  public var function: UInt32
  /// The sink's own: a table's slot, a tree's node.
  public var tag: Int32
  /// When it was entered; when the gap ended where `isStartKnown` is false.
  public var start: ClockUnits
  /// Spent in the calls it made.
  public var childTime: ClockUnits
  /// While it is open: how long its thread had been off the CPU before it. When it has ended: how long
  /// it was in this call.
  public var waited = ClockUnits.zero
  /// The part of it in the calls it made.
  public var childWaited = ClockUnits.zero
  /// Its entry was seen.
  public var isStartKnown: Bool
  /// The sink gets it: `CallSelection`.
  @usableFromInline var isShown = true
  /// In one of the selected functions, or one itself.
  @usableFromInline var isInside = true
  /// Of a selection: how many of those outside of it the sink got.
  @usableFromInline var shownDepth: Int32 = 0

  @inlinable
  init(function: UInt32, start: ClockUnits, isStartKnown: Bool) {
    self.function = function
    self.start = start
    self.isStartKnown = isStartKnown
    tag = -1
    childTime = .zero
  }
}

/// How a call ended.
public enum CallEnd: UInt8, Sendable {
  case returned
  /// It ended without returning: an exception, longjmp or the thread's end.
  case unwound
  /// It had not ended when its process did.
  case stillOpen
  /// Its end lies where events are missing: when it was, is not known.
  case cutOff
  /// Its return was not hooked: it has no duration, and what it called counts as its caller's.
  case entryOnly

  /// Whether the time handed over with it is that of its end.
  @inlinable public var isTimed: Bool { self != .cutOff && self != .entryOnly }
}

/// Receives the calls of a thread, each at its begin and its end.
///
/// `parentTag` is -1 for an outermost call; depths count from 0.
public protocol CallSink {
  /// A call began; the sink may set the frame's tag.
  mutating func entered(_ frame: inout Frame, parentTag: Int32, depth: Int)
  /// A call is open whose entry is not in the recording.
  mutating func resumed(_ frame: inout Frame, parentTag: Int32, depth: Int)
  /// A call ended; every `entered` and `resumed` has one.
  mutating func ended(_ frame: Frame, at time: ClockUnits, _ how: CallEnd, depth: Int)
  /// What the call that begins or ends next was given, or returned: it is the next that the sink gets, or
  /// one that it does not get.
  mutating func values(_ values: RecordedValues)
  /// The thread goes on on another stack; 0 is its own. From now on calls and depths are of that one.
  mutating func switched(to stack: UInt32, at time: ClockUnits)
  /// The innermost calls, outermost first, are another stack's, which is suspended.
  mutating func split(_ frames: [Frame], to stack: UInt32, at time: ClockUnits)
}

extension CallSink {
  /// Does nothing.
  public mutating func values(_ values: RecordedValues) {}
  /// Does nothing: most sinks count each call by itself.
  public mutating func switched(to stack: UInt32, at time: ClockUnits) {}
  /// Does nothing.
  public mutating func split(_ frames: [Frame], to stack: UInt32, at time: ClockUnits) {}
}
