// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A file descriptor with one owner, who closes it.
struct Descriptor: ~Copyable {
  let number: Int32

  init(_ number: Int32) { self.number = number }

  deinit { if number >= 0 { close(number) } }

  /// Writes all of `bytes`; 0 or an errno.
  func write(_ bytes: [UInt8]) -> Int32 {
    bytes.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count, let start = bytes.baseAddress {
        let wrote = Glibc.write(number, start + done, bytes.count - done)
        if wrote < 0 && errno == EINTR { continue }
        if wrote <= 0 { return wrote < 0 ? errno : ENOSPC }
        done += wrote
      }
      return 0
    }
  }

  /// All bytes from the start of a file, at most `limit`; nil where it cannot be read or is longer.
  func readAll(limit: Int) -> [UInt8]? {
    var status = stat()
    guard fstat(number, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
      status.st_size >= 0, status.st_size <= limit
    else { return nil }
    return read(at: 0, count: Int(status.st_size))
  }

  /// At least one byte at `offset`, as many as one read gives; nil at the end or where it fails.
  func readSome(at offset: Int, atMost count: Int) -> [UInt8]? {
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      var got: Int
      repeat {
        got = pread(number, buffer.baseAddress, count, off_t(offset))
      } while got < 0
        && errno == EINTR
      filled = max(0, got)
    }
    return bytes.isEmpty ? nil : bytes
  }

  /// Exactly `count` bytes at `offset`; nil where there are fewer.
  func read(at offset: Int, count: Int) -> [UInt8]? {
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      while filled < count, let start = buffer.baseAddress {
        let got = pread(number, start + filled, count - filled, off_t(offset + filled))
        if got < 0 && errno == EINTR { continue }
        if got <= 0 { return }
        filled += got
      }
    }
    return bytes.count == count ? bytes : nil
  }
}
