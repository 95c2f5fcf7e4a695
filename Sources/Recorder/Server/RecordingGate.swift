// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import Filters

/// Opens and shuts the arena's gate when a time has come; agents do it when a function is entered.
///
/// Not one system call of a traced process is needed for it: the gate is a word of the arena.
final class RecordingGate {
  /// What the gate's word says.
  enum State: UInt32, Sendable {
    case open = 0
    /// The delay is not over.
    case shut = 1
    /// No function of `--start-on` was entered yet.
    case waits = 2
    /// Nothing is recorded any more.
    case over = 3
  }

  private let arena: Arena
  private let loop: EventLoop
  private let triggers: Triggers
  private var hasEndPlanned = false

  /// Shuts the gate, before there is an agent, where recording does not begin at once.
  init(arena: Arena, loop: EventLoop, triggers: Triggers) {
    self.arena = arena
    self.loop = loop
    self.triggers = triggers
    if triggers.delayNanoseconds > 0 {
      arena.setGate(.open, to: .shut)
    } else if !triggers.startOn.isEmpty {
      arena.setGate(.open, to: .waits)
    }
  }

  var state: State { arena.gate }

  /// To be called when the program has started: times are counted from now on.
  func begin() {
    if triggers.delayNanoseconds == 0 { return look() }
    loop.after(nanoseconds: triggers.delayNanoseconds) { [weak self] in
      guard let self else { return }
      arena.setGate(.shut, to: triggers.startOn.isEmpty ? .open : .waits)
      look()
    }
  }

  /// To be called when the gate may have changed.
  func look() {
    guard let duration = triggers.durationNanoseconds, !hasEndPlanned, state == .open else {
      return
    }
    hasEndPlanned = true
    loop.after(nanoseconds: duration) { [weak self] in
      self?.arena.setGate(.open, to: .over)
    }
  }
}

extension Triggers {
  /// What did not come about until the program's end: one line each.
  func warnings(_ state: RecordingGate.State) -> [String] {
    func texts(_ rules: [FilterRule]) -> String { rules.map(\.text).joined(separator: " ") }
    switch state {
    case .shut:
      return ["--delay: the program ended before it was over, so nothing is recorded"]
    case .waits:
      return [
        "--start-on '\(texts(startOn))': no call of it was seen, so nothing is recorded: nopscope "
          + "sites lists all names"
      ]
    case .open where !stopOn.isEmpty:
      return ["--stop-on '\(texts(stopOn))': no call of it was seen: all is recorded to the end"]
    case .open, .over: return []
    }
  }
}
