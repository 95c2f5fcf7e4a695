// SPDX-License-Identifier: Apache-2.0

public import Units

/// One event of a thread, decoded.
public struct Event: Equatable, Sendable {
  /// What happened.
  public enum Kind: UInt8, Sendable {
    /// A chunk begins; the cursor's `openFunctions` and `threadName` are this chunk's. `number` is
    /// 1 where what came before is missing (or it is the first), 0 where it follows seamlessly.
    case chunk
    /// A function was entered; `number` is the function's.
    case entry
    /// The innermost open function returned.
    case exit
    /// The `number` innermost functions ended without returning, at the time of the event before.
    case unwound
    /// The function outside which `number` open functions lie returned: those inside stay open.
    case exitAt
    /// `number` events were not recorded here.
    case lost
    /// The return address `number`, of the entry before: each entry of the tracer `function` has
    /// one.
    case parent
  }

  /// What happened.
  public var kind: Kind
  /// In units of the recording's clock; never before the event before it, but in damaged files.
  public var time: ClockUnits
  /// What it is depends on the kind: see there.
  public var number: UInt64

  /// An event of `kind` at `time`.
  @inlinable
  public init(_ kind: Kind, time: ClockUnits, number: UInt64 = 0) {
    self.kind = kind
    self.time = time
    self.number = number
  }
}

/// Where one chunk lies in its file, and what its header says.
struct ChunkPlace: Sendable {
  var offset: UInt64
  /// Bytes that may be read: the header's size, or used, cut to the file.
  var length: UInt64
  var sequence: UInt32
  var openFunctions: UInt32
  var kind: UInt32
  var baseTime: ClockUnits
  var lostEvents: UInt64
}
