// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The memory of another process, by /proc/PID/mem: reads and writes private pages whatever their
/// protection is.
struct ProcessMemory: ~Copyable {
  private let file: Int32

  /// Throws an errno's number as `VisitError.unreadable`.
  init(_ process: pid_t) throws(VisitError) {
    let path = "/proc/\(process)/mem"
    file = open(path, O_RDWR | O_CLOEXEC)
    if file < 0 { throw .refused(process, path: path, errno: errno) }
  }

  deinit { close(file) }

  /// Nil where some of it is not mapped.
  func read(_ address: UInt64, _ count: Int) -> [UInt8]? {
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      filled = max(0, pread(file, buffer.baseAddress, count, off_t(bitPattern: address)))
    }
    return bytes.count == count ? bytes : nil
  }

  func write(_ bytes: [UInt8], _ address: UInt64) -> Bool {
    pwrite(file, bytes, bytes.count, off_t(bitPattern: address)) == bytes.count
  }

  func number<T: FixedWidthInteger>(_ type: T.Type, _ address: UInt64) -> T? {
    read(address, MemoryLayout<T>.size).map { $0.withUnsafeBytes { $0.loadUnaligned(as: T.self) } }
  }

  /// A NUL-terminated text, at most `limit` bytes.
  func text(_ address: UInt64, limit: Int = 4096) -> [UInt8]? {
    var found: [UInt8] = []
    // Page by page: the next page may not be there.
    while found.count < limit {
      let at = address + UInt64(found.count)
      guard let more = read(at, min(limit - found.count, Int(4096 - at % 4096))) else { return nil }
      if let end = more.firstIndex(of: 0) { return found + more[..<end] }
      found += more
    }
    return found
  }
}

extension off_t {
  fileprivate init(bitPattern address: UInt64) { self = off_t(truncatingIfNeeded: address) }
}
