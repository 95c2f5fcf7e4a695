// SPDX-License-Identifier: Apache-2.0

import Glibc
import ProductFiles
import RecordingSchema

/// The shared object that is preloaded into traced programs.
public enum AgentLibrary {
  /// Its file's name.
  public static let name = "libNopscopeAgent.so"

  /// The absolute path of the agent that belongs to this program; nil where there is none.
  public static func find() -> String? {
    guard let own = ProductFolders.resolved("/proc/self/exe") else { return nil }
    for folder in ProductFolders.candidates(forImage: own) {
      let path = "\(folder)/\(name)"
      if access(path, R_OK) == 0, let path = ProductFolders.resolved(path) { return path }
    }
    return nil
  }

  /// Where hooked returns come back to: the agent loads it from its own folder.
  private static let trampolines = "libNopscopeTrampolines.so"

  /// The library of trampolines beside the agent at `path`; nil where it is missing, and then no
  /// return is hooked.
  public static func trampolines(beside path: String) -> String? {
    let file = path.prefix(through: path.lastIndex(of: "/") ?? path.startIndex) + trampolines
    return access(String(file), R_OK) == 0 ? String(file) : nil
  }

  /// What `record` says where it is missing and `tracer` needs it.
  public static func missingTrampolines(beside path: String, for tracer: Tracer) -> String? {
    guard tracer.hooksReturns, trampolines(beside: path) == nil else { return nil }
    return "\(trampolines): expected it beside \(path) for hooked returns, found none: calls are "
      + "recorded without times: build it, or use --tracer callgraph, function or hits"
  }

  /// Its path for LD_PRELOAD, where a space or a colon ends one: a link in `folder` replaces it,
  /// and one for the trampolines.
  static func preloadable(_ path: String, folder: String) -> String? {
    if !path.contains(where: { $0 == " " || $0 == ":" }) { return path }
    for name in [trampolines, name] {
      let target = path.prefix(through: path.lastIndex(of: "/") ?? path.startIndex) + name
      guard symlink(String(target), folder + "/" + name) == 0 else { return nil }
    }
    return folder + "/" + name
  }
}
