// SPDX-License-Identifier: Apache-2.0
//
// Compares memory with a file, in big pieces.

import Glibc
import Units

/// Two buffers, and what was found by them.
struct TextComparer: ~Copyable {
  /// Memory that could not be compared.
  struct Failure {
    var address: CodeAddress
    var length: UInt64
    var reason: UncomparedText.Reason
  }

  private(set) var differences = DifferenceCollector(limit: 8 << 20)
  private(set) var bytesCompared: UInt64 = 0
  private(set) var bytesDiffering: UInt64 = 0
  private let live = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
  private let disk = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
  private var failures: [Failure] = []

  deinit {
    live.deallocate()
    disk.deallocate()
  }

  /// Compares all of `mapping` with `file`, which has `size` bytes; what could not be, is returned.
  mutating func compare(
    range: Int, _ mapping: MemoryMapping, _ file: borrowing ReadableFile, size: UInt64,
    _ memory: borrowing ReadableFile
  ) -> [Failure] {
    failures = []
    // In the file's last page the bytes after its end are zeros; the pages after that are not
    // there.
    let lastPage = (size &+ pageMask) & ~pageMask
    let length = min(
      mapping.length, lastPage > mapping.fileOffset ? lastPage - mapping.fileOffset : 0)
    var done: UInt64 = 0
    while done < length {
      let count = Int(min(UInt64(live.count), length - done))
      done += compare(
        range: range, address: mapping.start + done, offset: mapping.fileOffset + done,
        count: count, file, memory)
    }
    if length < mapping.length {
      fail(mapping.start + length, mapping.length - length, .beyondEndOfFile)
    }
    return failures
  }

  /// Takes back what was found in one range.
  mutating func forget(range: Int) { bytesDiffering -= differences.remove(range: range) }

  /// Compares at most `count` bytes; how many were, or could not be.
  private mutating func compare(
    range: Int, address: CodeAddress, offset: UInt64, count: Int, _ file: borrowing ReadableFile,
    _ memory: borrowing ReadableFile
  ) -> UInt64 {
    let piece = UnsafeMutableRawBufferPointer(rebasing: live[..<count])
    let other = UnsafeMutableRawBufferPointer(rebasing: disk[..<count])
    let readable: Int
    do throws(Errno) { readable = try memory.read(into: piece, at: address.rawValue) } catch {
      return fail(address, pageMask + 1, .memoryUnreadable(error.number))
    }
    if readable == 0 { return fail(address, pageMask + 1, .memoryUnreadable(EIO)) }
    do throws(Errno) {
      let filled = try file.read(into: other, at: offset)
      UnsafeMutableRawBufferPointer(rebasing: other[filled...]).initializeMemory(
        as: UInt8.self, repeating: 0)
    } catch { return fail(address, UInt64(count), .fileUnreadable(error.number)) }
    bytesCompared += UInt64(readable)
    collect(range: range, address: address, count: readable)
    return UInt64(readable)
  }

  /// Collects the bytes in which the first `count` of the two buffers differ.
  private mutating func collect(range: Int, address: CodeAddress, count: Int) {
    guard let ours = live.baseAddress, let theirs = disk.baseAddress else { return }
    // Nearly all is equal: memcmp finds the few blocks that are not.
    for block in stride(from: 0, to: count, by: 512) {
      let end = min(block + 512, count)
      if memcmp(ours + block, theirs + block, end - block) == 0 { continue }
      for index in block..<end where live[index] != disk[index] {
        bytesDiffering += 1
        differences.append(
          range: range, address: address + UInt64(index), file: disk[index], live: live[index])
      }
    }
  }

  /// Notes memory that could not be compared, together with what is noted before it.
  @discardableResult
  private mutating func fail(
    _ address: CodeAddress, _ length: UInt64, _ reason: UncomparedText.Reason
  ) -> UInt64 {
    if let last = failures.last, last.reason == reason, last.address + last.length == address {
      failures[failures.count - 1].length += length
    } else {
      failures.append(Failure(address: address, length: length, reason: reason))
    }
    return length
  }
}
