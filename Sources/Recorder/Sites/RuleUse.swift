// SPDX-License-Identifier: Apache-2.0

import Filters

/// Which rules of the command line have matched a function so far: one that matches none is most often
/// a slip of the pen.
final class RuleUse {
  private var unused: [(option: String, rule: FilterRule)]
  private var hasSites = false

  init(_ filter: SiteFilter, arguments: [ArgumentRule] = []) {
    unused =
      filter.filter.map { ("--filter", $0) } + filter.notrace.map { ("--notrace", $0) }
      + filter.graph.map { ("--graph", $0) } + arguments.map { ("--args", $0.rule) }
  }

  /// Looks at the functions of a module that is planned.
  func note(_ sites: FileSites, module path: String) {
    if unused.isEmpty || sites.entries.isEmpty { return }
    hasSites = true
    let module = ModuleSpellings(path: path)
    for index in sites.entries.indices where !unused.isEmpty {
      let name = FunctionSpellings(sites.name(at: sites.entries[index].function))
      unused.removeAll { $0.rule.matches(function: name, module: module) }
    }
  }

  /// One line for each that has matched none. Where there was no call site at all, another message says so.
  var warnings: [String] {
    if !hasSites { return [] }
    return unused.map { option, rule in
      "\(option) '\(rule.text)': no function that can be traced matches it; nopscope sites FILE lists "
        + "them"
    }
  }
}
