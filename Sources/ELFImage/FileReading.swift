// SPDX-License-Identifier: Apache-2.0

import Glibc
import TextFormat

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

/// Reads the whole of a regular file.
func readFile(_ path: String) throws(ELFError) -> [UInt8] {
  let file = try RegularFile(path)
  if file.size > longestFile {
    throw .tooLarge(path: path, size: file.size, limit: longestFile)
  }
  if isSparse(file.size, file.blocks) {
    throw .sparse(path: path, size: file.size, onDisk: UInt64(max(0, file.blocks)) * 512)
  }
  return try file.read(at: 0, count: Int(file.size))
}

/// A regular file that is open for reading, with pread(2).
///
/// A copy, not a mapping: a file that shrinks or changes while it is mapped would fault, or change
/// between check and use.
final class RegularFile {
  let path: String
  /// In bytes, when it was opened.
  let size: UInt64
  /// Of 512 bytes, on the disk.
  let blocks: Int
  private let descriptor: Int32

  init(_ path: String) throws(ELFError) {
    // O_NONBLOCK: opening a pipe nobody writes to must not hang; no effect on regular files.
    let descriptor = path.withSystemText { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
    guard descriptor >= 0 else {
      throw .unreadable(path: path, operation: "cannot open", errno: errno)
    }
    do {
      (size, blocks) = try Self.regularSize(descriptor, path)
    } catch {
      close(descriptor)
      throw error
    }
    self.path = path
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  private static func regularSize(
    _ descriptor: Int32, _ path: String
  ) throws(ELFError) -> (size: UInt64, blocks: Int) {
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
    return (UInt64(max(0, status.st_size)), Int(status.st_blocks))
  }

  /// `count` bytes at `offset`, fewer where the file ends before.
  func read(at offset: UInt64, count: Int) throws(ELFError) -> [UInt8] {
    var failure: Int32 = 0
    let descriptor = descriptor
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      guard let start = buffer.baseAddress else { return }
      while filled < count {
        let got = pread(descriptor, start + filled, count - filled, off_t(offset) + off_t(filled))
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
}
