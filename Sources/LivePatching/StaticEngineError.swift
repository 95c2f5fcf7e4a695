// SPDX-License-Identifier: Apache-2.0

/// Why a table cannot be adopted.
public enum StaticEngineError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The loader writes into the text, after the moment at which the sites are converted.
  case textRelocations(path: String)
  /// Without a build-id the module cannot be distinguished from another one.
  case noBuildID(path: String)

  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .textRelocations(let path):
      "\(path): has text relocations (DT_TEXTREL), which the loader writes after the sites are "
        + "converted; link it with -z text and compile it with -fPIC; it is left alone"
    case .noBuildID(let path):
      "\(path): has no build-id, by which the module is known when it is loaded; link it with "
        + "-Wl,--build-id; it is left alone"
    }
  }
}
