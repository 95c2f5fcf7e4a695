// SPDX-License-Identifier: Apache-2.0

/// Which sites are to be traced.
///
/// Rules apply in their order, the last that matches decides. Without rules every function is
/// wanted; where the first rule removes, it removes from all functions. Rules are applied when a
/// module is loaded, so a rule for a module that is not loaded yet takes effect then.
public struct SiteFilter: Sendable {
  /// What becomes of a site.
  public enum Choice: Equatable, Sendable {
    case unwanted
    case wanted
    /// Wanted, and what it calls is recorded while it is open.
    case graph
  }

  /// `--filter`: what is wanted; all where it is empty.
  public let filter: [FilterRule]
  /// `--notrace`: what is never wanted.
  public let notrace: [FilterRule]
  /// `--graph`: functions whose callees are wanted.
  public let graph: [FilterRule]

  /// The last rule that matches decides in each list; `notrace` overrides the other lists.
  public init(
    filter: [FilterRule] = [], notrace: [FilterRule] = [], graph: [FilterRule] = []
  ) {
    self.filter = filter
    self.notrace = notrace
    self.graph = graph
  }

  /// Whether every site of every module is wanted: no name has to be looked at.
  public var wantsAll: Bool { filter.isEmpty && notrace.isEmpty && graph.isEmpty }

  /// What the rules say of one function.
  ///
  /// A graph function is armed even where no filter names it: without it nothing would be recorded.
  /// notrace wins over everything.
  public func choice(function: String, module: ModuleSpellings) -> Choice {
    let name = FunctionSpellings(function)
    if decide(notrace, name, module, otherwise: false) { return .unwanted }
    if decide(graph, name, module, otherwise: false) { return .graph }
    return decide(filter, name, module, otherwise: true) ? .wanted : .unwanted
  }

  /// Whether `notrace` names the function.
  public func forbids(function: String, module: ModuleSpellings) -> Bool {
    decide(notrace, FunctionSpellings(function), module, otherwise: false)
  }

  /// `otherwise`: what an empty list says.
  private func decide(
    _ rules: [FilterRule], _ name: FunctionSpellings, _ module: ModuleSpellings, otherwise: Bool
  ) -> Bool {
    guard let first = rules.first else { return otherwise }
    for rule in rules.reversed() where rule.matches(function: name, module: module) {
      return !rule.isRemoval
    }
    return first.isRemoval && otherwise
  }
}
