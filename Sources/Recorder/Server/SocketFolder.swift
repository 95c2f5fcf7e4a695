// SPDX-License-Identifier: Apache-2.0

import CRecorder
import Glibc

/// Why the recorder cannot listen: one line.
public struct ServerError: Error, CustomStringConvertible, Sendable {
  /// The message.
  public var description: String
}

/// A folder that only we may enter, with the agents' socket in it; it is removed with everything in
/// it.
final class SocketFolder {
  let path: String
  let listener: Descriptor
  var socketPath: String { path + "/s" }

  init() throws {
    path = try Self.makeFolder()
    let number = nrc_listen(path + "/s")
    let error = errnoNow()
    listener = Descriptor(number)
    guard number >= 0 else {
      throw ServerError(description: "\(path)/s: cannot listen: \(systemError(error))")
    }
  }

  deinit {
    RecordingFolder.empty(path)
    rmdir(path)
  }

  /// Its path is short enough for a socket's address.
  private static func makeFolder() throws -> String {
    var parents = ["/tmp"]
    if let own = getenv("TMPDIR").map({ String(cString: $0) }), own.hasPrefix("/"),
      own.utf8.count + 32 < nrc_longest_socket_path(), isSafeParent(own)
    {
      parents.insert(own, at: 0)
    }
    var error: Int32 = 0
    for parent in parents {
      var template = Array((parent + "/nopscope-XXXXXX").utf8CString)
      if mkdtemp(&template) != nil {
        return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
      }
      error = errnoNow()
    }
    throw ServerError(
      description: "\(parents[0]): cannot make a folder for the agent's socket: "
        + systemError(error))
  }

  /// Whether nobody else can put another folder in the place of one that we make in it.
  static func isSafeParent(_ path: String) -> Bool {
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return false }
    guard status.st_uid == geteuid() || status.st_uid == 0 else { return false }
    return status.st_mode & 0o022 == 0 || status.st_mode & S_ISVTX != 0
  }
}
