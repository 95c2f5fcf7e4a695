// SPDX-License-Identifier: Apache-2.0

import CUnloadLab
import Glibc
import ProductFiles

/// A specimen was not where the build puts it.
public struct SpecimenNotFound: Error, Equatable, CustomStringConvertible {
  /// The file's name.
  public var file: String
  /// Where it was looked for.
  public var folders: [String]

  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    "\(file): not in \(folders.joined(separator: ", ")): build it first (swift build)"
  }
}

/// Where the specimen modules are: in lib/nopscope of an installation, or where the build puts
/// them, beside the program or the test bundle.
public enum SpecimenLocation {
  /// The shared objects that the demo patches.
  public enum Specimen: String, Sendable, CaseIterable {
    /// The module that is patched.
    case specimen = "libSpecimen.so"
    /// Another, of the same span in memory.
    case other = "libSpecimenOther.so"
  }

  /// The absolute path of a specimen, from the folders that belong to /proc/self/exe or to the
  /// image that this code is part of: a test bundle may be loaded by a program elsewhere.
  public static func path(of specimen: Specimen) throws(SpecimenNotFound) -> String {
    try path(ofFile: specimen.rawValue, in: candidateFolders())
  }

  static func path(ofFile file: String, in folders: [String]) throws(SpecimenNotFound) -> String {
    for folder in folders where access("\(folder)/\(file)", R_OK) == 0 {
      return "\(folder)/\(file)"
    }
    throw SpecimenNotFound(file: file, folders: folders)
  }

  static func candidateFolders() -> [String] {
    let image = nul_image_path().map { String(cString: $0) }
    let images = ["/proc/self/exe", image].compactMap { $0.flatMap(ProductFolders.resolved) }
    var folders: [String] = []
    for candidate in images.flatMap({ ProductFolders.candidates(forImage: $0) })
    where !folders.contains(candidate) {
      folders.append(candidate)
    }
    return folders
  }
}
