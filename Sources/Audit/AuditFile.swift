// SPDX-License-Identifier: Apache-2.0
//
// The system calls of an audit: an owned descriptor, reading at an offset, and opening the very
// file that a mapping shows.

import Glibc
import Units

func errorText(_ error: Int32) -> String { String(cString: strerror(error)) }

/// A failed system call's errno.
struct Errno: Error, Equatable {
  var number: Int32
}

/// A descriptor that is closed when its owner is freed.
struct ReadableFile: ~Copyable {
  let descriptor: Int32

  init(_ path: String) throws(Errno) {
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw Errno(number: errno) }
  }

  deinit { close(descriptor) }

  /// Reads up to `buffer.count` bytes from `offset`.
  ///
  /// Fewer only at the end, or where memory that cannot be read begins (/proc/PID/mem). Throws
  /// where not one byte could be read, except at the end of a file.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
    var filled = 0
    while filled < buffer.count {
      let room = UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
      let place = off_t(truncatingIfNeeded: offset &+ UInt64(filled))
      let count = pread(descriptor, room.baseAddress, room.count, place)
      if count < 0 && errno == EINTR { continue }
      if count < 0 && filled == 0 { throw Errno(number: errno) }
      if count <= 0 { break }
      filled += count
    }
    return filled
  }

  /// All of a file whose size is not known beforehand, from the first byte.
  func readAll() throws(Errno) -> [UInt8] {
    var bytes: [UInt8] = []
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    defer { piece.deallocate() }
    while true {
      let count = try read(into: piece, at: UInt64(bytes.count))
      if count == 0 { return bytes }
      bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: piece[..<count]))
    }
  }

  func status() throws(Errno) -> stat {
    var status = stat()
    if fstat(descriptor, &status) != 0 { throw Errno(number: errno) }
    return status
  }
}

extension ReadableFile {
  /// Opens the file that `mapping` shows.
  ///
  /// /proc/PID/map_files gives the mapped file itself, deleted or replaced though it may be, to
  /// those with CAP_CHECKPOINT_RESTORE (proc(5), Linux 5.9). For others the path has to do, and
  /// what is found there has to be the inode of the mapping.
  static func mapped(
    _ mapping: MemoryMapping, in process: ProcessDirectory, _ opensMapFiles: Bool
  ) throws(UncomparedText.Reason) -> ReadableFile {
    if opensMapFiles, let file = try? ReadableFile(process.mapFile(mapping)) { return file }
    guard !mapping.isDeleted else { throw .deleted }
    let file: ReadableFile
    do throws(Errno) {
      file = try ReadableFile(process.path("root") + mapping.path)
    } catch {
      throw .unopenable(error.number)
    }
    try file.requireFile(of: mapping)
    return file
  }

  /// Throws unless this is the file that `mapping` shows.
  ///
  /// Not by fstat: on btrfs and overlayfs it gives another device number than the kernel prints for
  /// mappings. A mapping of our own is printed the same way as theirs.
  private func requireFile(of mapping: MemoryMapping) throws(UncomparedText.Reason) {
    let length = Int(pageMask) + 1
    guard let page = mmap(nil, length, PROT_READ, MAP_PRIVATE, descriptor, 0), page != MAP_FAILED
    else { throw .fileUnreadable(errno) }
    defer { munmap(page, length) }
    let address = CodeAddress(page)
    let ours = try? ProcessDirectory(getpid()).fileMappings().first { $0.shows(0, at: address) }
    guard let ours else { throw .fileUnreadable(ENOENT) }
    guard ours.isSameFile(as: mapping) else {
      throw .replaced(mapped: mapping.inode, found: ours.inode)
    }
  }
}
