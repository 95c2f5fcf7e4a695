// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Makes `contents` the file at `path`, with the mode of `model` and, where we may, its owner: all
/// or nothing.
///
/// They are written beside it, synced, and renamed over it; a symbolic link stays one.
func replaceFile(_ path: String, with contents: [UInt8], like model: String) throws(SiteError) {
  let target = resolved(path)
  var status = stat()
  guard stat(model, &status) == 0 else {
    throw .unwritable(path: model, operation: "cannot look at", errno: errno)
  }
  var template = Array((target + ".nopscope-XXXXXX").utf8CString)
  let descriptor = mkstemp(&template)
  guard descriptor >= 0 else {
    throw .unwritable(path: path, operation: "cannot make a file beside it", errno: errno)
  }
  _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
  let temporary = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  let failed = fill(descriptor, contents, status)
  close(descriptor)
  if let failed {
    unlink(temporary)
    throw .unwritable(path: path, operation: failed.operation, errno: failed.errno)
  }
  guard rename(temporary, target) == 0 else {
    let error = errno
    unlink(temporary)
    throw .unwritable(path: path, operation: "cannot rename over it", errno: error)
  }
  syncFolder(of: target)
}

/// The file itself where `path` is a symbolic link.
private func resolved(_ path: String) -> String {
  guard let real = realpath(path, nil) else { return path }
  defer { free(real) }
  return String(cString: real)
}

private func fill(
  _ descriptor: Int32, _ contents: [UInt8], _ status: stat
) -> (operation: String, errno: Int32)? {
  let isWritten = contents.withUnsafeBytes { bytes in
    guard let start = bytes.baseAddress else { return true }
    var done = 0
    while done < bytes.count {
      let wrote = write(descriptor, start + done, bytes.count - done)
      if wrote < 0 && errno == EINTR { continue }
      if wrote <= 0 { return false }
      done += wrote
    }
    return true
  }
  if !isWritten { return ("cannot write", errno) }
  // Only root may give a file away: any other user who runs this owns the result. Before the mode,
  // which a change of owner may reduce.
  _ = fchown(descriptor, status.st_uid, status.st_gid)
  if fchmod(descriptor, status.st_mode & 0o7777) != 0 { return ("cannot set the mode", errno) }
  if fsync(descriptor) != 0 { return ("cannot sync", errno) }
  return nil
}

/// Writes the rename to the disk.
///
/// A file system that cannot is no reason to fail: the file is whole.
private func syncFolder(of path: String) {
  let end = path.lastIndex(of: "/")
  let folder = end.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
  let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  guard descriptor >= 0 else { return }
  _ = fsync(descriptor)
  close(descriptor)
}
