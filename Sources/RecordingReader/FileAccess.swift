// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization
import TextFormat

/// lseek(2)'s SEEK_DATA and SEEK_HOLE, which Glibc's module shows only with _GNU_SOURCE.
private let seekData: Int32 = 3
private let seekHole: Int32 = 4

/// An open regular file, read by pread(2): never mapped, since a mapping of a file that shrinks
/// faults.
final class OpenFile: Sendable {
  let path: String
  /// Bytes, when it was opened.
  let size: UInt64
  private let descriptor: Int32

  init(_ path: String) throws(RecordingError) {
    // O_NONBLOCK: opening a pipe nobody writes to must not hang; no effect on regular files.
    let descriptor = path.withSystemText { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
    guard descriptor >= 0 else {
      // A socket cannot be opened at all.
      if errno == ENXIO { throw .notRegular(path: path) }
      throw .unreadable(path: path, operation: "cannot open", errno: errno)
    }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw .notRegular(path: path)
    }
    self.path = path
    self.descriptor = descriptor
    size = UInt64(max(0, status.st_size))
  }

  deinit { close(descriptor) }

  /// Reads into `buffer` from `offset`; the bytes read, fewer only at the file's end or on an
  /// error.
  func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int {
    guard let start = buffer.baseAddress, offset < UInt64(Int64.max) else { return 0 }
    var done = 0
    while done < buffer.count {
      let got = pread(descriptor, start + done, buffer.count - done, off_t(offset) + done)
      if got < 0 && errno == EINTR { continue }
      if got <= 0 { break }
      done += got
    }
    return done
  }

  /// The first place at or behind `offset` that is no hole; the file's end if there is none.
  func nextData(from offset: UInt64) -> UInt64 {
    guard offset < size else { return size }
    let found = lseek(descriptor, off_t(offset), seekData)
    if found < 0 { return errno == ENXIO ? size : offset }
    return max(offset, UInt64(found))
  }

  /// Where the first hole begins; the file's end if there is none.
  var firstHole: UInt64 {
    let found = lseek(descriptor, 0, seekHole)
    return found < 0 ? size : min(size, UInt64(found))
  }

  /// At most `count` bytes from `offset`.
  func bytes(at offset: UInt64, count: Int) -> [UInt8] {
    let there = offset < size ? Int(clamping: size - offset) : 0
    return [UInt8](unsafeUninitializedCapacity: min(count, there)) { buffer, filled in
      filled = read(UnsafeMutableRawBufferPointer(buffer), at: offset)
    }
  }
}

/// The whole of a text file.
///
/// What is beyond `limit` bytes is not read, and no zero bytes at the end: a file that was not
/// written out when the power went has a tail of them, or a hole.
func textFile(_ path: String, limit: Int) throws(RecordingError) -> [UInt8] {
  let file = try OpenFile(path)
  var bytes = file.bytes(at: 0, count: min(limit, Int(clamping: file.firstHole)))
  if let last = bytes.lastIndex(where: { $0 != 0 }) {
    bytes.removeSubrange((last + 1)...)
  } else {
    bytes.removeAll()
  }
  return bytes
}

/// The names in a directory, sorted.
func directoryNames(_ path: String) throws(RecordingError) -> [String] {
  guard let stream = path.withSystemText({ opendir($0) }) else {
    if errno == ENOTDIR { throw .notDirectory(path: path) }
    throw .unreadable(path: path, operation: "cannot open", errno: errno)
  }
  defer { closedir(stream) }
  var names: [String] = []
  while let entry = readdir(stream) {
    let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
      pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
    }
    if name != "." && name != ".." { names.append(name) }
  }
  return names.sorted()
}

/// A file that several readers share while any of them lives: descriptors are few, processes many.
final class SharedFile: Sendable {
  private struct Current { weak var file: OpenFile? }

  let path: String
  private let current = Mutex(Current())

  init(_ path: String) { self.path = path }

  func open() throws(RecordingError) -> OpenFile {
    try current.withLock { current throws(RecordingError) in
      if let file = current.file { return file }
      let file = try OpenFile(path)
      current.file = file
      return file
    }
  }
}
