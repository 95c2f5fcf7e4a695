// SPDX-License-Identifier: Apache-2.0

import Glibc
import ProductFiles

/// The shared object that goes into traced programs.
enum AgentLibrary {
  private static let name = "libNopscopeAgent.so"

  /// The absolute path of the agent that belongs to this program; nil where there is none.
  static func find() -> String? {
    guard let own = ProductFolders.resolved("/proc/self/exe") else { return nil }
    for folder in ProductFolders.candidates(forImage: own) {
      let path = "\(folder)/\(name)"
      if access(path, R_OK) == 0, let path = ProductFolders.resolved(path) { return path }
    }
    return nil
  }

  /// What the agent loads from its own folder.
  private static let companion = "libNopscopeTrampolines.so"

  /// Its path for LD_PRELOAD, where a space or a colon ends one: a link in `folder` stands for it,
  /// and one for its companion.
  static func preloadable(_ path: String, folder: String) -> String? {
    if !path.contains(where: { $0 == " " || $0 == ":" }) { return path }
    for name in [companion, name] {
      let target = path.prefix(through: path.lastIndex(of: "/") ?? path.startIndex) + name
      guard symlink(String(target), folder + "/" + name) == 0 else { return nil }
    }
    return folder + "/" + name
  }
}
