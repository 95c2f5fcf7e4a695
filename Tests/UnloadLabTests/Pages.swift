// SPDX-License-Identifier: Apache-2.0

import Glibc

/// An anonymous private mapping of whole pages, unmapped at its end.
struct Pages: ~Copyable {
  let start: UnsafeMutableRawPointer
  let length: Int

  init(_ count: Int = 1, protection: Int32 = PROT_READ | PROT_WRITE) {
    length = count * 4096
    guard let start = mmap(nil, length, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      start != MAP_FAILED
    else { fatalError("mmap of \(length) bytes: errno \(errno)") }
    self.start = start
  }

  deinit { munmap(start, length) }

  var buffer: UnsafeMutableRawBufferPointer { .init(start: start, count: length) }
}
