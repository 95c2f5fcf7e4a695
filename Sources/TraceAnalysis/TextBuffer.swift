// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Units

/// Text that is written a block at a time.
public struct TextBuffer {
  private var bytes: [UInt8] = []
  private let sink: ([UInt8]) -> Bool
  /// The reader has closed its end: nothing more need be written.
  public private(set) var isClosed = false
  private static let block = 1 << 16

  /// `sink` writes a block; false where nothing more can be written.
  public init(_ sink: @escaping ([UInt8]) -> Bool) {
    self.sink = sink
    bytes.reserveCapacity(Self.block + 4096)
  }

  mutating func add(_ text: StaticString) {
    text.withUTF8Buffer { bytes.append(contentsOf: $0) }
  }

  mutating func add(_ text: String) { bytes.append(contentsOf: text.utf8) }

  mutating func add(_ text: [UInt8]) { bytes.append(contentsOf: text) }

  mutating func add(spaces count: Int) {
    bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: max(0, count)))
  }

  /// Decimal digits, with zeros before them up to `width`.
  mutating func add(_ number: UInt64, width: Int = 1) {
    var divisor: UInt64 = 1
    var digits = 1
    while number / divisor >= 10 {
      divisor *= 10
      digits += 1
    }
    for _ in 0..<max(0, width - digits) { bytes.append(UInt8(ascii: "0")) }
    while divisor > 0 {
      bytes.append(UInt8(ascii: "0") + UInt8(number / divisor % 10))
      divisor /= 10
    }
  }

  /// How many digits a number has.
  static func digits(_ number: UInt64) -> Int {
    var (left, digits) = (number, 1)
    while left >= 10 {
      left /= 10
      digits += 1
    }
    return digits
  }

  mutating func endLine() {
    bytes.append(UInt8(ascii: "\n"))
    if bytes.count >= Self.block { flush() }
  }

  /// Hands over what is left.
  public mutating func flush() {
    if !bytes.isEmpty && !isClosed { isClosed = !sink(bytes) }
    bytes.removeAll(keepingCapacity: true)
  }
}

/// Functions' names as they are shown, made once each while there is room.
struct NameCache {
  private let recording: Recording
  private let shown: (String) -> String
  private var names: [[UInt32: [UInt8]]]
  /// Bytes of names that may still be kept: a hostile recording has long ones, for many functions.
  private var room = 64 << 20

  init(_ recording: Recording, shown: @escaping (String) -> String) {
    self.recording = recording
    self.shown = shown
    names = Array(repeating: [:], count: recording.processes.count)
  }

  mutating func name(_ function: UInt32, process: Int) -> [UInt8] {
    if let known = names[process][function] { return known }
    let number = UInt64(function)
    let text = recording.processes[process].function(number).label(number: number)
    let name = Array(shown(text).utf8)
    if name.count < room {
      names[process][function] = name
      room -= name.count + 64  // and the entry
    }
    return name
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

/// Escape sequences of a replay; all empty where there is no terminal.
public struct ReplayColours: Sendable {
  var mark = ""
  var dim = ""
  var heading = ""
  var end = ""

  /// No colours: files and plain terminals.
  public static let none = ReplayColours()
  /// The usual escape sequences.
  public static let terminal = ReplayColours(
    mark: "\u{1b}[1;33m", dim: "\u{1b}[2m", heading: "\u{1b}[1m", end: "\u{1b}[0m")
}
