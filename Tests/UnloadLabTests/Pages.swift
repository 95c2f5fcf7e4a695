// SPDX-License-Identifier: Apache-2.0

import Glibc

/// An anonymous private mapping of whole pages; deinit unmaps it.
struct Pages: ~Copyable {
  let start: UnsafeMutableRawPointer
  let length: Int

  init(_ count: Int = 1, protection: Int32 = PROT_READ | PROT_WRITE) {
    length = count * 4096
    start = Self.kept(count, protection: protection)
  }

  /// A mapping that stays until the process ends.
  static func kept(_ count: Int = 1, protection: Int32) -> UnsafeMutableRawPointer {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS
    guard let start = mmap(nil, count * 4096, protection, flags, -1, 0), start != MAP_FAILED
    else { fatalError("mmap of \(count) pages: errno \(errno)") }
    return start
  }

  deinit { munmap(start, length) }

  var buffer: UnsafeMutableRawBufferPointer { .init(start: start, count: length) }
}
