// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The folders that hold what comes with the program: the agent, the trampolines, the specimens.
///
/// `scripts/install` puts them into `P/lib/nopscope` and the program into `P/bin`. The build puts
/// all into one folder, `debug` or `release`. So an installed program never finds a file of a
/// build, and one of a build finds no installed file.
public enum ProductFolders {
  private static let buildFolders: [Substring] = ["debug", "release"]

  /// The folders to look into, best first, for a program (or another image of ours) at `image`, an
  /// absolute path without links. Empty where `image` has no folder.
  public static func candidates(forImage image: String) -> [String] {
    guard let own = folder(of: image) else { return [] }
    guard buildFolders.contains(lastName(of: own)) else {
      return (folder(of: own).map { ["\($0)/lib/nopscope"] } ?? []) + [own]
    }
    // `swift run` builds the program alone. What a release build lacks is not taken from a debug
    // build: it would be slower, and the user would not know why.
    guard let parent = folder(of: own), lastName(of: own) == "debug" else { return [own] }
    return [own, "\(parent)/release"]
  }

  /// The absolute path of `path` with all links followed; nil where there is no such file.
  public static func resolved(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  /// `/a/b` of `/a/b/c`, and `` of `/a`; nil where `path` has no slash.
  private static func folder(of path: String) -> String? {
    path.lastIndex(of: "/").map { String(path[..<$0]) }
  }

  private static func lastName(of path: String) -> Substring {
    path.lastIndex(of: "/").map { path[path.index(after: $0)...] } ?? path[...]
  }
}
