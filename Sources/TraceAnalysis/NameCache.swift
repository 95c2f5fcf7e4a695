// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Units

/// Functions' names as they are shown, made once each while there is room.
struct NameCache {
  /// A function as replays name it.
  struct Name {
    var bytes: [UInt8]
    /// What is demangled has its parameters already: `zoo::fib(int)`.
    var hasParameters: Bool
  }

  private let recording: Recording
  private let shown: (String) -> String
  private var names: [Name] = []
  /// By process and function number: the place in `names`, or -1. Numbers from `mostKnown` on are in
  /// `others`.
  private var places: [[Int32]]
  private var others: [[UInt32: Int32]]
  private static let mostKnown = 1 << 20
  /// Bytes of names that may still be kept: a hostile recording has long ones, for many functions.
  private var room = 64 << 20

  init(_ recording: Recording, shown: @escaping (String) -> String) {
    self.recording = recording
    self.shown = shown
    places = Array(repeating: [], count: recording.processes.count)
    others = Array(repeating: [:], count: recording.processes.count)
  }

  mutating func name(_ function: UInt32, process: Int) -> Name {
    let number = Int(function)
    if number < places[process].count {
      let place = places[process][number]
      if place >= 0 { return names[Int(place)] }
    } else if let place = others[process][function] {
      return names[Int(place)]
    }
    return make(function, process)
  }

  private mutating func make(_ function: UInt32, _ process: Int) -> Name {
    let text = recording.processes[process].function(UInt64(function))
      .label(number: UInt64(function))
    let bytes = Array(shown(text).utf8)
    let name = Name(bytes: bytes, hasParameters: bytes.contains(UInt8(ascii: "(")))
    if bytes.count < room {
      keep(name, function, process)
      room -= bytes.count + 64  // and the entry
    }
    return name
  }

  private mutating func keep(_ name: Name, _ function: UInt32, _ process: Int) {
    let place = Int32(names.count)
    names.append(name)
    let number = Int(function)
    if number >= Self.mostKnown {
      others[process][function] = place
      return
    }
    let missing = number + 1 - places[process].count
    if missing > 0 {
      // Grows by half, so that ascending numbers cost no more than others.
      let more = max(missing, min(places[process].count / 2, Self.mostKnown - number - 1))
      places[process] += repeatElement(-1, count: more)
    }
    places[process][number] = place
  }

  /// The caller: a function's name, or the address where no module has it.
  func caller(_ address: CodeAddress, time: ClockUnits, process: Int) -> String {
    let found = recording.processes[process].caller(at: address, time: time)
    return found.map(shown) ?? "\(address)"
  }

  /// A thread's name, cut to `most` characters.
  func shownName(_ name: String, most: Int) -> String {
    shownThreadName(name, most: most, shown)
  }
}
