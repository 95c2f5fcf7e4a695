// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Bytes that are written to a descriptor a megabyte at a time.
///
/// A write that fails is remembered in `failure`, and what follows is dropped: a writer need not
/// check each byte. Belongs to one task.
///
/// Unsafe, and why it is safe. `bytes` is `capacity` bytes of ours, freed by deinit; `count` is at
/// most `capacity`, since each `add` makes room first; a block longer than the room goes past it.
final class OutputBuffer {
  private static let capacity = 1 << 20

  private let bytes: UnsafeMutablePointer<UInt8>
  private var count = 0
  private let descriptor: Int32
  private var flushed: UInt64 = 0
  /// errno of the first write that failed.
  private(set) var failure: Int32?

  /// `descriptor` stays the caller's.
  init(descriptor: Int32) {
    self.descriptor = descriptor
    bytes = .allocate(capacity: Self.capacity)
  }

  deinit { bytes.deallocate() }

  /// Bytes added until now.
  var written: UInt64 { flushed + UInt64(count) }

  @inline(__always)
  private func makeRoom(_ wanted: Int) {
    if Self.capacity - count < wanted { flush() }
  }

  @inline(__always)
  func add(_ byte: UInt8) {
    makeRoom(1)
    bytes[count] = byte
    count += 1
  }

  func add(literal text: StaticString) {
    add(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  func add(_ text: String) {
    var text = text
    text.withUTF8 { add($0) }
  }

  func add(_ block: [UInt8]) { block.withUnsafeBufferPointer { add($0) } }

  private func add(_ block: UnsafeBufferPointer<UInt8>) {
    makeRoom(block.count)
    guard let start = block.baseAddress else { return }
    if block.count > Self.capacity {
      flushed += UInt64(block.count)
      write(start, block.count)
    } else {
      (bytes + count).update(from: start, count: block.count)
      count += block.count
    }
  }

  /// Decimal digits, with zeros before them up to `width`, at most 20.
  func add(decimal number: UInt64, width: Int = 1) {
    makeRoom(20)
    var digits = 1
    var rest = number / 10
    while rest > 0 {
      digits += 1
      rest /= 10
    }
    digits = max(digits, min(width, 20))
    rest = number
    for place in stride(from: count + digits - 1, through: count, by: -1) {
      let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
      bytes[place] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: digit)
      rest = quotient
    }
    count += digits
  }

  /// Eight bytes, the lowest first.
  @inline(__always)
  func add(word: UInt64) {
    makeRoom(8)
    UnsafeMutableRawPointer(bytes + count).storeBytes(of: word.littleEndian, as: UInt64.self)
    count += 8
  }

  /// A block that `fill` writes, of at most `most` bytes; it answers how many.
  @inline(__always)
  func add(upTo most: Int, _ fill: (UnsafeMutableBufferPointer<UInt8>) -> Int) {
    makeRoom(most)
    count += min(most, fill(UnsafeMutableBufferPointer(start: bytes + count, count: most)))
  }

  func flush() {
    flushed += UInt64(count)
    write(bytes, count)
    count = 0
  }

  private func write(_ start: UnsafePointer<UInt8>, _ count: Int) {
    var done = 0
    while done < count && failure == nil {
      let wrote = Glibc.write(descriptor, start + done, count - done)
      if wrote > 0 { done += wrote } else if errno != EINTR { failure = wrote == 0 ? EIO : errno }
    }
  }
}
