// SPDX-License-Identifier: Apache-2.0

/// Text that is written a block at a time.
///
/// Unsafe, and why it is safe. `bytes` is `capacity` bytes that `memory` owns and frees; copies of the
/// buffer share them, and only one of them is used. `count` is at most `capacity`: each `add` makes
/// room first, and what is longer than all of it goes past it.
public struct TextBuffer {
  private final class Memory {
    let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: TextBuffer.capacity)
    deinit { bytes.deallocate() }
  }

  private let memory = Memory()
  private let bytes: UnsafeMutablePointer<UInt8>
  private var count = 0
  private let sink: ([UInt8]) -> Bool
  /// The reader has closed its end: nothing more need be written.
  public private(set) var isClosed = false
  /// A line's end is written when there is so much.
  private static let block = 1 << 16
  private static let capacity = block + 4096

  /// `sink` writes a block; false where nothing more can be written.
  public init(_ sink: @escaping ([UInt8]) -> Bool) {
    self.sink = sink
    bytes = memory.bytes
  }

  @inline(__always)
  private mutating func makeRoom(_ wanted: Int) {
    if Self.capacity - count < wanted { flush() }
  }

  mutating func add(_ text: StaticString) {
    add(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  mutating func add(_ text: String) {
    if text.isEmpty { return }
    var text = text
    text.withUTF8 { add($0) }
  }

  @inline(__always)
  mutating func add(_ text: [UInt8]) { text.withUnsafeBufferPointer { add($0) } }

  @inline(__always)
  private mutating func add(_ text: UnsafeBufferPointer<UInt8>) {
    makeRoom(text.count)
    guard let start = text.baseAddress else { return }
    if text.count > Self.capacity {
      if !isClosed { isClosed = !sink(Array(text)) }
      return
    }
    (bytes + count).update(from: start, count: text.count)
    count += text.count
  }

  @inline(__always)
  mutating func add(_ byte: UInt8) {
    makeRoom(1)
    bytes[count] = byte
    count += 1
  }

  /// At most `capacity` of them.
  @inline(__always)
  mutating func add(spaces wanted: Int) {
    let wanted = min(max(0, wanted), Self.capacity)
    makeRoom(wanted)
    (bytes + count).update(repeating: UInt8(ascii: " "), count: wanted)
    count += wanted
  }

  /// Decimal digits, with zeros before them up to `width`, at most 20.
  mutating func add(_ number: UInt64, width: Int = 1) {
    makeRoom(20)
    let digits = max(Self.digits(number), min(width, 20))
    var rest = number
    for place in stride(from: count + digits - 1, through: count, by: -1) {
      let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
      bytes[place] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: digit)
      rest = quotient
    }
    count += digits
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

  @inline(__always)
  mutating func endLine() {
    add(UInt8(ascii: "\n"))
    if count >= Self.block { flush() }
  }

  /// Hands over what is left.
  public mutating func flush() {
    if count > 0 && !isClosed {
      isClosed = !sink(Array(UnsafeBufferPointer(start: bytes, count: count)))
    }
    count = 0
  }
}

/// Escape sequences of a replay; all empty where there is no terminal.
public struct ReplayColours: Sendable {
  var mark: StaticString = ""
  var dim: StaticString = ""
  var heading: StaticString = ""
  var end: StaticString = ""

  /// No colours: files and plain terminals.
  public static let none = ReplayColours()
  /// The usual escape sequences.
  public static let terminal = ReplayColours(
    mark: "\u{1b}[1;33m", dim: "\u{1b}[2m", heading: "\u{1b}[1m", end: "\u{1b}[0m")
}
