// SPDX-License-Identifier: Apache-2.0

/// Encodes events as the agent does: the shortest form that holds delta and function.
///
/// It is written from CRecordingABI.h and shares no code with the reader. So tests compare two
/// independent implementations of the format.
public struct EventEncoder: Sendable {
  /// What was encoded.
  public private(set) var bytes: [UInt8] = []
  /// The time of the newest event, in units.
  public private(set) var time: UInt64

  /// Tracer `function`: function and return address of each pair in the chunk, by pair number.
  private var pairs: [UInt64: [UInt64]] = [:]

  /// An encoder for a chunk with this base time, in units.
  public init(baseTime: UInt64) { time = baseTime }

  /// An entry of the tracer `function`, whose return address is `caller`.
  public mutating func entry(_ function: UInt32, from caller: UInt64, at time: UInt64) {
    let number = (caller + UInt64(function) * 9) % 8192
    if pairs[number] == [UInt64(function), caller], time - self.time < 1 << 15 {
      entry(UInt32(number), at: time)
    } else {
      let delta = advance(to: time, limit: 1 << 24)
      append(0x60 | delta << 8 | UInt64(function) << 32, count: 8)
      parent(caller)
      pairs[number] = [UInt64(function), caller]
    }
  }

  /// A call of `function` begins.
  public mutating func entry(_ function: UInt32, at time: UInt64) {
    let delta = advance(to: time, limit: 1 << 24)
    if delta < 1 << 6 && function < 1 << 8 {
      append(delta << 2 | 0b10 | UInt64(function) << 8, count: 2)
    } else if delta < 1 << 8 && function < 1 << 13 {
      append(delta << 3 | 0b100 | UInt64(function) << 11, count: 3)
    } else if delta < 1 << 15 && function < 1 << 13 {
      append(delta << 4 | 0b1000 | UInt64(function) << 19, count: 4)
    } else {
      append(0x60 | delta << 8 | UInt64(function) << 32, count: 8)
    }
  }

  /// The innermost call ends.
  public mutating func exit(at time: UInt64) {
    let delta = advance(to: time, limit: 1 << 14)
    if delta < 1 << 6 {
      append(delta << 2 | 0b01, count: 1)
    } else {
      append(delta << 2 | 0b11, count: 2)
    }
  }

  /// A leaf call.
  public mutating func call(_ function: UInt32, from start: UInt64, to end: UInt64) {
    entry(function, at: start)
    exit(at: end)
  }

  /// So many calls end without returning: at `time`, or at the time of the newest event.
  public mutating func unwound(_ count: UInt32, at time: UInt64? = nil) {
    if let time { _ = advance(to: time, limit: 1) }
    append(0x20 | UInt64(count) << 8, count: 4)
  }

  /// The call ends that lies `depth` calls outside the innermost.
  public mutating func exit(at time: UInt64, outside depth: UInt32) {
    let delta = advance(to: time, limit: 1 << 24)
    append(0x30 | delta << 8 | UInt64(depth) << 32, count: 8)
  }

  /// The thread goes on on another stack, on which these functions are open.
  public mutating func switched(to stack: UInt32, at time: UInt64, listing open: [UInt32] = []) {
    _ = advance(to: time, limit: 1)
    append(0x70 | UInt64(open.count) << 8 | UInt64(stack) << 32, count: 8)
    for function in open { append(UInt64(function), count: 4) }
  }

  /// So many innermost functions are another stack's.
  public mutating func split(_ count: UInt32, to stack: UInt32, at time: UInt64) {
    _ = advance(to: time, limit: 1)
    append(0x80 | UInt64(count) << 8 | UInt64(stack) << 32, count: 8)
  }

  /// So many events found no room.
  public mutating func lost(_ count: UInt64) { append(0x40 | count << 8, count: 8) }

  /// The next entry was called from `address`.
  public mutating func parent(_ address: UInt64) { append(0x50 | address << 8, count: 8) }

  /// The next entry's arguments (moment 0), or what the next exit returned (1).
  public mutating func values(_ function: UInt32, moment: UInt8, _ values: [UInt8]) {
    append(
      0x90 | UInt64(moment) << 8 | UInt64(values.count) << 16 | UInt64(function) << 32, count: 8)
    bytes += values
  }

  /// Any bytes.
  public mutating func raw(_ bytes: [UInt8]) { self.bytes += bytes }

  /// The delta to `time`, after a TIME event where it is `limit` or more.
  private mutating func advance(to time: UInt64, limit: UInt64) -> UInt64 {
    var delta = time &- self.time
    self.time = time
    if delta >= limit {
      append(0x10 | delta << 8, count: 8)
      delta = 0
    }
    return delta
  }

  private mutating func append(_ word: UInt64, count: Int) {
    for index in 0..<count { bytes.append(UInt8(truncatingIfNeeded: word >> (8 * index))) }
  }
}
