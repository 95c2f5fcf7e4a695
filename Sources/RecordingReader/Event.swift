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
    /// Only recordings of version 2 have it.
    case exitAt
    /// The thread goes on on the stack `number`; 0 is its own. The cursor's `openFunctions` are those
    /// that are open there, where the chunk lists them.
    case switched
    /// The innermost functions, `number` shifted right by 32 of them, are on another stack, which is
    /// suspended: that of the number in the lower half.
    case split
    /// `number` events were not recorded here.
    case lost
    /// The `returnAddress` of the entry before: each entry of the tracer `function` has one.
    case parent
  }

  /// What happened.
  public var kind: Kind
  /// In units of the recording's clock; never before the event before it, but in damaged files.
  public var time: ClockUnits
  /// A function's number or a count, as the kind says; of `parent` read `returnAddress` instead.
  ///
  /// One word, whatever the kind: an event is made for each call and return of a recording, and
  /// nearly all of them are entries and exits.
  public var number: UInt64

  /// An event of `kind` at `time`.
  @inlinable
  public init(_ kind: Kind, time: ClockUnits, number: UInt64 = 0) {
    self.kind = kind
    self.time = time
    self.number = number
  }

  /// The event `parent` of a call that returns to `returnAddress`.
  @inlinable
  public init(returningTo returnAddress: CodeAddress, time: ClockUnits) {
    self.init(.parent, time: time, number: returnAddress.rawValue)
  }

  /// Where the call returns to; only `parent` has it.
  @inlinable
  public var returnAddress: CodeAddress {
    assert(kind == .parent)
    return CodeAddress(number)
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
