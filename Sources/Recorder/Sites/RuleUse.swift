// SPDX-License-Identifier: Apache-2.0

import Filters

/// Which rules of the command line have matched a function or a thread so far: one that matches none is
/// most often a slip of the pen.
final class RuleUse {
  private var unused: [(option: String, rule: FilterRule)]
  private let threads: [ThreadRule]
  private var hasSites = false

  init(_ options: RecordOptions) {
    let filter = options.filter
    threads = options.threads
    unused =
      filter.filter.map { ("--filter", $0) } + filter.notrace.map { ("--notrace", $0) }
      + filter.graph.map { ("--graph", $0) } + options.arguments.map { ("--args", $0.rule) }
  }

  /// Looks at the functions of a module that is planned.
  func note(_ sites: FileSites, module path: String) {
    if sites.entries.isEmpty { return }
    hasSites = true
    if unused.isEmpty { return }
    let module = ModuleSpellings(path: path)
    for index in sites.entries.indices where !unused.isEmpty {
      let name = FunctionSpellings(sites.name(at: sites.entries[index].function))
      unused.removeAll { $0.rule.matches(function: name, module: module) }
    }
  }

  /// One line for each that has matched none; bit i of `threadRulesMet`: rule i for threads has. Where there was no call site at all, another message says so.
  func warnings(threadRulesMet met: UInt32) -> [String] {
    if !hasSites { return [] }
    let functions = unused.map { option, rule in
      "\(option) '\(rule.text)': no function that can be traced matches it; nopscope sites FILE lists "
        + "them"
    }
    let threads = threads.enumerated().filter { met & 1 << $0.offset == 0 }.map { _, rule in
      "--thread '\(rule.text)': no thread that called a traced function matches it; of a recording "
        + "without --thread, nopscope report --by thread lists them"
    }
    return functions + threads
  }
}
