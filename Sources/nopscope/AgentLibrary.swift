// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The shared object that goes into traced programs.
enum AgentLibrary {
  private static let name = "libNopscopeAgent.so"

  /// Beside the executable, in a sibling configuration's folder, or in lib/ as it is installed; nil
  /// where there is none.
  static func find() -> String? {
    guard let real = realpath("/proc/self/exe", nil) else { return nil }
    defer { free(real) }
    let own = String(cString: real)
    let folder = own.lastIndex(of: "/").map { String(own[..<$0]) } ?? ""
    let candidates = ["", "/../release", "/../debug", "/../lib", "/../lib/nopscope"]
    for candidate in candidates {
      let path = "\(folder)\(candidate)/\(name)"
      if access(path, R_OK) == 0, let real = realpath(path, nil) {
        defer { free(real) }
        return String(cString: real)
      }
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
