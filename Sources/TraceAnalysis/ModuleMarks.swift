// SPDX-License-Identifier: Apache-2.0

import RecordingReader

/// Tells functions of one name in several modules apart where text shows their names: `work [second]`.
public struct ModuleMarks: Sendable {
  /// The labels that functions of several modules have.
  private var shared: Set<String> = []
  private var short: ShortPaths

  /// Marks for a list of these functions.
  public init(_ functions: some Sequence<(label: String, module: String?)>) {
    var first: [String: String] = [:]
    var modules: Set<String> = []
    for function in functions {
      guard let module = function.module else { continue }
      modules.insert(module)
      if first[function.label, default: module] != module { shared.insert(function.label) }
      first[function.label] = module
    }
    short = ShortPaths(shared.isEmpty ? [] : modules)
  }

  /// Marks for a list of these rows.
  public init(_ rows: [ReportRow]) {
    self.init(rows.lazy.map { ($0.label, $0.function.modulePath) })
  }

  /// Marks for a list of these rows.
  public init(_ rows: [DifferenceRow]) {
    self.init(rows.lazy.map { ($0.label, $0.modulePath) })
  }

  /// The label, with its module where another module has a function of this label too.
  public func marked(_ label: String, module: String?) -> String {
    guard let module, shared.contains(label) else { return label }
    return "\(label) [\(short[module])]"
  }
}

/// Paths by as few of their last parts as tell them apart: `libx.so`, or `old/libx.so` and
/// `new/libx.so`.
public struct ShortPaths: Sendable {
  private var names: [String: String] = [:]

  /// Short names for these paths.
  public init(_ paths: Set<String>) {
    var open = paths.map { (path: $0, parts: $0.split(separator: "/")) }
    var count = 1
    while !open.isEmpty {
      let groups = Dictionary(grouping: open) { $0.parts.suffix(count).joined(separator: "/") }
      open = []
      for (name, group) in groups {
        if group.count == 1 {
          names[group[0].path] = name
        } else {
          // One that has no more parts can only be written whole.
          for one in group where one.parts.count <= count { names[one.path] = one.path }
          open += group.filter { $0.parts.count > count }
        }
      }
      count += 1
    }
  }

  /// The short name of one of the paths; of another path, its file's name.
  public subscript(path: String) -> String {
    names[path] ?? path.split(separator: "/").last.map(String.init) ?? path
  }
}
