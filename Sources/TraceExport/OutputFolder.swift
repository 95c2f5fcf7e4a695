// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A directory of files that gets its name only when it is complete.
///
/// Until `finish` it has a hidden name beside its own; deinit removes what was not finished.
final class OutputFolder {
  private let path: String
  private var hidden: String?
  private var names: Set<String> = []
  /// Of the files that are closed.
  private(set) var bytes: UInt64 = 0

  init(path: String) throws(ExportError) {
    self.path = path
    try Self.requireFree(path)
    let hidden = hiddenPath(beside: path)
    guard mkdir(hidden, 0o777) == 0 else {
      throw .cannotWrite(path: path, operation: "cannot create", errno: errno)
    }
    self.hidden = hidden
  }

  deinit {
    guard let hidden else { return }
    for name in names { unlink("\(hidden)/\(name)") }
    rmdir(hidden)
  }

  /// rename(2) takes the place of an empty directory, and of nothing else.
  private static func requireFree(_ path: String) throws(ExportError) {
    guard let stream = opendir(path) else {
      if errno == ENOENT { return }
      throw errno == ENOTDIR
        ? .folderExists(path: path)
        : .cannotWrite(path: path, operation: "cannot open", errno: errno)
    }
    defer { closedir(stream) }
    var count = 0
    while readdir(stream) != nil { count += 1 }
    // `.` and `..`.
    if count > 2 { throw .folderExists(path: path) }
  }

  /// Opens a file, at its end where it is there already.
  func append(_ name: String) throws(ExportError) -> FolderFile {
    let file = "\(hidden ?? path)/\(name)"
    let descriptor = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else {
      throw .cannotWrite(path: "\(path)/\(name)", operation: "cannot create", errno: errno)
    }
    names.insert(name)
    return FolderFile(path: "\(path)/\(name)", descriptor: descriptor)
  }

  /// Writes what is left of a file.
  func close(_ file: FolderFile) throws(ExportError) {
    file.buffer.flush()
    bytes += file.buffer.written
    try file.check()
  }

  /// A small file at once.
  func write(_ name: String, _ text: String) throws(ExportError) {
    let file = try append(name)
    file.buffer.add(text)
    try close(file)
  }

  /// Gives the directory its name.
  func finish() throws(ExportError) {
    guard let hidden else { return }
    guard rename(hidden, path) == 0 else {
      if errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR {
        throw .folderExists(path: path)
      }
      throw .cannotWrite(path: path, operation: "cannot name the directory", errno: errno)
    }
    self.hidden = nil
  }
}

/// One file of a folder that is being written.
final class FolderFile {
  let buffer: OutputBuffer
  private let path: String
  private let descriptor: Int32

  fileprivate init(path: String, descriptor: Int32) {
    self.path = path
    self.descriptor = descriptor
    buffer = OutputBuffer(descriptor: descriptor)
  }

  deinit { close(descriptor) }

  func check() throws(ExportError) {
    if let failure = buffer.failure {
      throw .cannotWrite(path: path, operation: "cannot write", errno: failure)
    }
  }
}
