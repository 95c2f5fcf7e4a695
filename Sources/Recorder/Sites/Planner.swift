// SPDX-License-Identifier: Apache-2.0

public import CRecordingABI
public import Filters
public import RecordingSchema

/// What is to become of each call site of a module.
public struct Plan: Sendable {
  /// In the table's order: entry i is function `firstFunction + i`.
  public var entries: [nrec_plan_entry]
  /// Sites that will call their stubs.
  public var armed: Int
  /// No rule selects them.
  public var unwanted: Int
  /// What was chosen for each, for the recording.
  public var choices = SitePlan()
  /// What the agent reads at some of them, in the order of functions.
  public private(set) var fetches: [nrec_fetch] = []
  /// Sites of functions whose arguments are recorded, with the rule that says so.
  public var valued: [Int: ArgumentRule] = [:]
  /// Why the module is left alone; nil where it is not.
  public var reason: String?
}

extension Plan {
  /// For a module that is left alone.
  static let nothing = Plan(entries: [], armed: 0, unwanted: 0)

  /// Has the agent read values at sites; `fetches` by site, their functions not set. A site whose
  /// calls are timed, too, says so by a fetch.
  mutating func add(_ fetches: [Int: [nrec_fetch]]) {
    for (site, all) in fetches.sorted(by: { $0.key < $1.key }) where !all.isEmpty {
      var all = all
      if entries[site].flags & UInt8(NREC_SITE_GRAPH) != 0 {
        var timed = nrec_fetch()
        timed.moment = UInt8(NREC_FETCH_TIMED)
        timed.bytes = 1
        all.append(timed)
      }
      for index in all.indices { all[index].function = entries[site].function }
      entries[site].flags |= UInt8(NREC_SITE_GRAPH)
      self.fetches += all
    }
  }
}

/// Makes one action for each site, from the sites and the rules.
///
/// Sites that no rule selects become nops, not calls that return early; nops stay what they are.
public struct Planner: Sendable {
  /// Which functions are wanted.
  public let filter: SiteFilter
  /// Which functions begin and end the recording.
  public let triggers: Triggers

  /// Whose arguments are recorded: the last rule that matches decides.
  public let arguments: [ArgumentRule]

  /// Plans by `filter`, `triggers` and `arguments`.
  public init(
    filter: SiteFilter, triggers: Triggers = Triggers(), arguments: [ArgumentRule] = []
  ) {
    self.filter = filter
    self.triggers = triggers
    self.arguments = arguments
  }

  /// What the agent shall do with each site of the module at `path`, whose site 0 has the number
  /// `firstFunction`.
  public func plan(_ sites: FileSites, module path: String, firstFunction: UInt32) -> Plan {
    var plan = Plan(entries: sites.entries, armed: 0, unwanted: 0)
    let needsNames = !filter.wantsAll || triggers.namesFunctions || !arguments.isEmpty
    let module = ModuleSpellings(path: needsNames ? path : "")
    if sites.hasTextRelocations, !sites.entries.isEmpty {
      plan.reason = "left alone: it has text relocations (DT_TEXTREL): link it position independent"
    }
    for index in plan.entries.indices {
      plan.entries[index].function = firstFunction &+ UInt32(index)
      if plan.reason != nil {
        plan.choices.add(.leftAlone)
        continue
      }
      var choice = SiteFilter.Choice.wanted
      if needsNames {
        let name = sites.name(at: sites.entries[index].function)
        (choice, plan.entries[index].flags) = look(name, module, plan.entries[index].flags)
        if let rule = argumentRule(name, module, &choice) { plan.valued[index] = rule }
      }
      apply(choice, to: &plan.entries[index])
      plan.choices.add(choice == .unwanted ? .unwanted : .wanted)
      if choice == .unwanted { plan.unwanted += 1 } else { plan.armed += 1 }
    }
    return plan
  }

  /// What becomes of a function's site, and its flags with its marks. Like a graph function, a
  /// trigger is armed even where no filter names it; notrace wins.
  private func look(
    _ name: String, _ module: ModuleSpellings, _ flags: UInt8
  ) -> (SiteFilter.Choice, UInt8) {
    let choice = filter.choice(function: name, module: module)
    let marks = triggers.marks(function: name, module: module)
    if marks == 0 { return (choice, flags) }
    if choice == .unwanted, filter.forbids(function: name, module: module) {
      return (.unwanted, flags)
    }
    return (choice == .unwanted ? .wanted : choice, flags | marks)
  }

  /// The rule by which a function's arguments are recorded. Its site is armed like a trigger's.
  private func argumentRule(
    _ name: String, _ module: ModuleSpellings, _ choice: inout SiteFilter.Choice
  ) -> ArgumentRule? {
    if arguments.isEmpty { return nil }
    let spellings = FunctionSpellings(name)
    guard
      let rule = arguments.last(where: { $0.rule.matches(function: spellings, module: module) }),
      !rule.rule.isRemoval
    else { return nil }
    if choice == .unwanted {
      if filter.forbids(function: name, module: module) { return nil }
      choice = .wanted
    }
    return rule
  }

  private func apply(_ choice: SiteFilter.Choice, to entry: inout nrec_plan_entry) {
    switch choice {
    case .wanted: entry.action = UInt8(NREC_ACTION_ARM)
    case .graph:
      entry.action = UInt8(NREC_ACTION_ARM)
      entry.flags |= UInt8(NREC_SITE_GRAPH)
    case .unwanted:
      let action = entry.isCallInFile ? NREC_ACTION_NOP : NREC_ACTION_LEAVE
      entry.action = UInt8(action)
    }
  }
}
