// SPDX-License-Identifier: Apache-2.0

public import ELFImage
import Glibc
import TextFormat
public import Units

/// Why a file has no table of call sites.
///
/// One line each, naming the file.
public enum SiteError: Error, Equatable, Sendable {
  case image(ELFError)
  /// An object file: addresses and calls are settled by the linker.
  case notLinked(path: String)
  /// The table of recorded sites is bound to the build-id, and there is none.
  case noBuildID(path: String)
  /// The file carries no section `.nopscope.sites`.
  case notRecorded(path: String)
  /// The recorded table was made for another build.
  case otherBuild(path: String, expected: [UInt8], found: [UInt8])
  /// The recorded table is damaged, or of another version.
  case badRecord(path: String, what: String, expected: String, found: String)
  /// An entry of the recorded table does not match the file.
  case unconfirmedRecord(path: String, offset: ModuleOffset, form: CallSite.Form, found: String)
  /// More section headers than the format's plain numbering holds.
  case tooManySections(path: String, count: UInt64)
  /// A system call on the output failed; nothing was replaced.
  case unwritable(path: String, operation: String, errno: Int32)
}

extension SiteError: CustomStringConvertible {
  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .image(let error): error.description
    case .notLinked(let path):
      "\(path): expected an executable or shared object, found an object file: link it first"
    case .noBuildID(let path):
      "\(path): expected a build-id to bind the table to, found none: link with -Wl,--build-id"
    case .notRecorded(let path):
      "\(path): no recorded table (section .nopscope.sites): run nopscope recordmcount on it"
    case .otherBuild(let path, let expected, let found):
      "\(path): the recorded table (.nopscope.sites) is of another build: expected build-id "
        + "\(digitsOrNone(expected)), found \(digitsOrNone(found)): run nopscope recordmcount on it again"
    case .badRecord(let path, let what, let expected, let found):
      "\(path): the recorded table (.nopscope.sites): \(what): expected \(expected), found \(found): "
        + "run nopscope recordmcount on it again"
    case .unconfirmedRecord(let path, let offset, let form, let found):
      "\(path)+\(offset): the recorded table (.nopscope.sites) is wrong: expected a call site "
        + "of form \(form.name), found \(found): run nopscope recordmcount on it again"
    case .tooManySections(let path, let count):
      "\(path): \(count) sections, expected fewer than 65279: no room for one more"
    case .unwritable(let path, let operation, let errno):
      "\(path): \(operation): \(String(cString: strerror(errno))): the file is as it was"
    }
  }
}

/// `6ee09f`, or `none`.
func digitsOrNone(_ bytes: [UInt8]) -> String { bytes.isEmpty ? "none" : hexDigits(bytes) }
