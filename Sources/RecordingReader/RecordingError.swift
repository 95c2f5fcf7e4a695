// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import Glibc
import RecordingSchema

/// Why a recording cannot be read at all.
///
/// What is damaged inside one is a problem, not an error.
public enum RecordingError: Error, Equatable, CustomStringConvertible {
  case unreadable(path: String, operation: String, errno: Int32)
  case notDirectory(path: String)
  /// A directory, a pipe, a device: nothing that a recording has there.
  case notRegular(path: String)
  /// No `PID-N.events` in the directory.
  case noEvents(path: String)
  case otherVersion(path: String, found: UInt32)
  case otherSchema(path: String, found: String)

  /// There is no such file.
  var isAbsence: Bool {
    if case .unreadable(_, _, ENOENT) = self { true } else { false }
  }

  /// Why a file of a recording is not used, behind its name.
  var reason: String {
    switch self {
    case .unreadable(_, _, ENOENT): "missing"
    case .unreadable(_, let operation, let errno):
      "\(operation): \(String(cString: strerror(errno)))"
    case .notRegular: "expected a regular file, found something else"
    default: description
    }
  }

  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .unreadable(let path, let operation, ENOENT):
      "\(path): \(operation): no such file or directory; "
        + "make a recording with: nopscope record -- PROGRAM"
    case .unreadable(let path, let operation, let errno):
      "\(path): \(operation): \(String(cString: strerror(errno)))"
    case .notDirectory(let path):
      "\(path): expected the directory of a recording, found something else"
    case .notRegular(let path): "\(path): \(reason)"
    case .noEvents(let path):
      "\(path): expected a recording, found no PID-N.events file: "
        + "did the program start, and is it instrumented? See nopscope doctor PROGRAM"
    case .otherVersion(let path, let found):
      "\(path): expected version \(NREC_VERSION) of the recording's format, found \(found): "
        + "read it with the nopscope that wrote it"
    case .otherSchema(let path, let found):
      "\(path): expected schema \(RecordingFormat.schema), found \(found): "
        + "read it with the nopscope that wrote it"
    }
  }
}
