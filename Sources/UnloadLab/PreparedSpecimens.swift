// SPDX-License-Identifier: Apache-2.0

import CallSites
import Glibc
import LivePatching
import MachineCode

/// The specimens as a build leaves them: copies in a private folder, the first with its call sites
/// recorded in it by recordmcount, as 2.6.28's build did.
public final class PreparedSpecimens {
  /// Of the module that is patched.
  public let path: String
  /// Of the module that may come in its place.
  public let otherPath: String
  /// Read back from the section that recordmcount wrote.
  public let table: SiteTable
  /// Shared by all that decode here.
  public let decoder: Decoder
  private let folder: String

  /// Copies the specimens into a private folder. Throws where they are not built.
  public init(decoder: Decoder) throws {
    self.decoder = decoder
    var template = Array("\(temporaryFolder())/nopscope-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw FileError(path: String(cString: strerror(errno)), errorNumber: errno)
    }
    folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    path = "\(folder)/libSpecimen.so"
    otherPath = try SpecimenLocation.path(of: .other)
    let built = try SpecimenLocation.path(of: .specimen)
    try SiteTable.discover(path: built, decoder: decoder).record(to: path)
    table = try SiteTable.recorded(path: path, decoder: decoder)
  }

  deinit {
    unlink(path)
    rmdir(folder)
  }

  /// The index of the site of that function.
  public func site(of function: String) throws -> Int {
    guard let index = table.sites.firstIndex(where: { table.functionName(of: $0) == function })
    else { throw LibraryError(text: "\(path): no call site in \(function)") }
    return index
  }
}

func temporaryFolder() -> String {
  guard let folder = getenv("TMPDIR"), folder.pointee != 0 else { return "/tmp" }
  return String(cString: folder)
}

struct FileError: Error, CustomStringConvertible {
  var path: String
  var errorNumber: Int32
  var description: String { "\(path): \(String(cString: strerror(errorNumber)))" }
}
