// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A file that gets its name only when it is complete.
///
/// It has no name until `finish` gives it one (O_TMPFILE, open(2)), so that not even SIGKILL leaves
/// half of it behind. Where the file system has no nameless files it has a hidden name until then.
/// A destination that is no regular file, as a pipe or /dev/stdout, is written to directly.
final class OutputFile {
  let buffer: OutputBuffer
  /// As the caller named it.
  private let path: String
  private let descriptor: Int32
  private let ownsDescriptor: Bool
  /// Where the file goes; nil where it is written in place.
  private let target: String?
  /// The hidden name, while it has one.
  private var temporary: String?

  /// Standard output.
  init(standardOutput: Void) {
    path = "standard output"
    descriptor = 1
    ownsDescriptor = false
    target = nil
    buffer = OutputBuffer(descriptor: 1)
  }

  init(path: String) throws(ExportError) {
    self.path = path
    ownsDescriptor = true
    var status = stat()
    // Follows links: what a link leads to is replaced, not the link.
    let isThere = stat(path, &status) == 0
    let kind = status.st_mode & S_IFMT
    if isThere && kind == S_IFDIR { throw .isDirectory(path: path) }
    if isThere && kind != S_IFREG {
      target = nil
      descriptor = open(path, O_WRONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw Self.error(path, "cannot write") }
    } else {
      let resolved = isThere ? realPath(path) : path
      target = resolved
      (descriptor, temporary) = try Self.openBeside(resolved, path)
      if isThere { fchmod(descriptor, status.st_mode & 0o777) }
    }
    buffer = OutputBuffer(descriptor: descriptor)
  }

  deinit {
    if ownsDescriptor { close(descriptor) }
    if let temporary { unlink(temporary) }
  }

  /// Writes what is left and gives the file its name.
  func finish() throws(ExportError) {
    buffer.flush()
    try check()
    guard let target else { return }
    let hidden = temporary ?? Self.hiddenName(target)
    if temporary == nil {
      guard
        linkat(AT_FDCWD, "/proc/self/fd/\(descriptor)", AT_FDCWD, hidden, AT_SYMLINK_FOLLOW) == 0
      else { throw Self.error(path, "cannot name the file") }
      temporary = hidden
    }
    guard rename(hidden, target) == 0 else { throw Self.error(path, "cannot name the file") }
    temporary = nil
  }

  /// Throws where a write has failed.
  func check() throws(ExportError) {
    if let failure = buffer.failure {
      throw .cannotWrite(path: path, operation: "cannot write", errno: failure)
    }
  }

  private static func openBeside(
    _ target: String, _ path: String
  ) throws(ExportError) -> (Int32, String?) {
    // O_TMPFILE, which Glibc's module does not show: 0o20000000 | O_DIRECTORY.
    let nameless: Int32 = 0o20000000 | O_DIRECTORY
    var descriptor = open(parent(of: target), nameless | O_WRONLY | O_CLOEXEC, 0o666)
    if descriptor >= 0 { return (descriptor, nil) }
    let hidden = hiddenName(target)
    descriptor = open(hidden, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw error(path, "cannot create") }
    return (descriptor, hidden)
  }

  private static func error(_ path: String, _ operation: String) -> ExportError {
    .cannotWrite(path: path, operation: operation, errno: errno)
  }

  /// A hidden name beside the target.
  private static func hiddenName(_ target: String) -> String {
    hiddenPath(beside: target)
  }
}

/// `DIR/.NAME.nopscope-PID`.
func hiddenPath(beside target: String) -> String {
  let name = target.split(separator: "/").last.map(String.init) ?? "export"
  return "\(parent(of: target))/.\(name).nopscope-\(getpid())"
}

/// The directory that a path's last component is in.
func parent(of path: String) -> String {
  var path = path[...]
  while path.count > 1 && path.hasSuffix("/") { path = path.dropLast() }
  guard let slash = path.lastIndex(of: "/") else { return "." }
  return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// Without links; the path itself where realpath(3) fails.
private func realPath(_ path: String) -> String {
  guard let found = realpath(path, nil) else { return path }
  defer { free(found) }
  return String(cString: found)
}
