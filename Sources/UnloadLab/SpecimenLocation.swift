// SPDX-License-Identifier: Apache-2.0

import CUnloadLab
import Glibc

/// A specimen was not where the build puts it.
public struct SpecimenNotFound: Error, Equatable, CustomStringConvertible {
  public var file: String
  public var folders: [String]

  public var description: String {
    "\(file): not in \(folders.joined(separator: ", ")): build it first (swift build)"
  }
}

/// Where the build puts the specimen modules: beside the program, or beside the test bundle.
public enum SpecimenLocation {
  public enum Specimen: String, Sendable, CaseIterable {
    /// The module that is patched.
    case specimen = "libSpecimen.so"
    /// Another, of the same span in memory.
    case other = "libSpecimenOther.so"
  }

  /// The absolute path of a specimen: from the folder of /proc/self/exe, or of the image that this
  /// code is part of (a test bundle may be loaded by a program elsewhere); then from the folders of
  /// the debug and the release build next to these.
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
    let own = [resolved("/proc/self/exe"), image.flatMap(resolved)].compactMap { path in
      path.flatMap(folder)
    }
    let siblings = own.compactMap(folder).flatMap { ["\($0)/debug", "\($0)/release"] }
    var folders: [String] = []
    for candidate in own + siblings where !folders.contains(candidate) {
      folders.append(candidate)
    }
    return folders
  }

  private static func resolved(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  private static func folder(_ path: String) -> String? {
    guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return nil }
    return String(path[..<slash])
  }
}
