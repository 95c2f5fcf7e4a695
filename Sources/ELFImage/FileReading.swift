// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The longest file that is read: a sparse file of a terabyte must not take the machine with it.
let longestFile: UInt64 = 4 << 30

/// Files that are longer than what is on the disk for them by this factor are not read: linkers write
/// no such files, and to read the holes takes as long as to read data. File systems that compress
/// stay far below it.
private let sparseFactor: UInt64 = 16
/// Shorter files are read in any case: that takes no time.
private let alwaysRead: UInt64 = 64 << 20

extension ELFImage {
  /// Whether `init(path:)` would read a regular file of this size, with so many blocks of 512 bytes on
  /// the disk.
  public static func reads(size: Int, blocks: Int) -> Bool {
    let bytes = UInt64(max(0, size))
    return bytes <= longestFile && !isSparse(bytes, blocks)
  }
}

private func isSparse(_ size: UInt64, _ blocks: Int) -> Bool {
  size > alwaysRead && size / sparseFactor > UInt64(max(0, blocks)) * 512
}

/// Reads the whole of a regular file, with read(2).
///
/// A copy, not a mapping: a file that shrinks or changes while it is mapped would fault, or change
/// between check and use.
func readFile(_ path: String) throws(ELFError) -> [UInt8] {
  // O_NONBLOCK: opening a pipe nobody writes to must not hang; no effect on regular files.
  let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
  guard descriptor >= 0 else {
    throw .unreadable(path: path, operation: "cannot open", errno: errno)
  }
  defer { close(descriptor) }
  let size = try regularSize(descriptor, path)
  return try readAll(descriptor, size, path)
}

private func regularSize(_ descriptor: Int32, _ path: String) throws(ELFError) -> Int {
  var status = stat()
  guard fstat(descriptor, &status) == 0 else {
    throw .unreadable(path: path, operation: "cannot look at", errno: errno)
  }
  switch status.st_mode & S_IFMT {
  case S_IFREG: break
  case S_IFDIR: throw .notRegular(path: path, kind: "a directory")
  case S_IFIFO: throw .notRegular(path: path, kind: "a pipe")
  default: throw .notRegular(path: path, kind: "a device or socket")
  }
  let size = UInt64(max(0, status.st_size))
  if size > longestFile { throw .tooLarge(path: path, size: size, limit: longestFile) }
  if isSparse(size, Int(status.st_blocks)) {
    throw .sparse(path: path, size: size, onDisk: UInt64(max(0, status.st_blocks)) * 512)
  }
  return Int(status.st_size)
}

private func readAll(_ descriptor: Int32, _ size: Int, _ path: String) throws(ELFError) -> [UInt8] {
  var failure: Int32 = 0
  let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, filled in
    guard let start = buffer.baseAddress else { return }
    while filled < size {
      let got = read(descriptor, start + filled, size - filled)
      if got > 0 {
        filled += got
        continue
      }
      if got < 0 && errno == EINTR { continue }
      if got < 0 { failure = errno }
      return
    }
  }
  guard failure == 0 else {
    throw .unreadable(path: path, operation: "cannot read", errno: failure)
  }
  return bytes
}
