// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The longest file that is read: a sparse file of a terabyte must not take the machine with it.
let longestFile: UInt64 = 4 << 30

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
  guard UInt64(status.st_size) <= longestFile else {
    throw .tooLarge(path: path, size: UInt64(status.st_size), limit: longestFile)
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
