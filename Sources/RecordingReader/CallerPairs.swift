// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import Units

/// Numbers of short ENTRY events of the tracer `function`: the function and the return address that
/// each number stands for, as far as the chunk has defined it.
struct CallerPairs {
  struct Pair: Equatable {
    var function: UInt64
    var returnAddress: CodeAddress
  }

  private var pairs: [Pair?] = Array(repeating: nil, count: Int(NREC_PAIRS))

  /// A chunk is read alone: what another chunk defined does not hold in it.
  mutating func forget() { for index in pairs.indices { pairs[index] = nil } }

  mutating func define(_ pair: Pair) {
    let number = nrec_pair(
      UInt32(truncatingIfNeeded: pair.function), pair.returnAddress.rawValue)
    pairs[Int(number)] = pair
  }

  /// Nil where the chunk has not defined the number.
  subscript(number: UInt64) -> Pair? {
    number < UInt64(pairs.count) ? pairs[Int(number)] : nil
  }
}

extension EventCursor {
  /// As `next`, of a recording whose short entries stand for pairs: each entry with its function's
  /// number, and its caller after it.
  @usableFromInline
  mutating func nextPaired() -> Event? {
    if let parent = pendingParent {
      pendingParent = nil
      return parent
    }
    while true {
      isLongEntry = false
      guard let event = nextPlain() else { return nil }
      switch event.kind {
      case .chunk: pairs.forget()
      case .entry where isLongEntry: longEntry = event.number
      case .entry:
        guard let pair = pairs[event.number] else {
          skipChunk("a call with pair \(event.number), which its chunk has not defined")
          continue
        }
        pendingParent = Event(returningTo: pair.returnAddress, time: event.time)
        return Event(.entry, time: event.time, number: pair.function)
      case .parent:
        pairs.define(
          CallerPairs.Pair(function: longEntry, returnAddress: event.returnAddress))
      default: break
      }
      return event
    }
  }
}
