// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CallSites
import MachineCode

/// The 2.6.28 design: sites come from the build, a module is converted after it is mapped and
/// before its first function runs, its records end before its memory can be anybody else's, and
/// the first anomaly turns the tracer off for good. No compare-and-swap anywhere.
public final class StaticEngine {
  /// What the engine knows of one site, beside its state.
  public struct Flags: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let filter = Flags(rawValue: 1)
    public static let enabled = Flags(rawValue: 2)
  }

  /// One table's module: the plan for whenever it comes, and its records while it is there.
  private struct Managed {
    let table: SiteTable
    let plan: LoadPlan
    var generation: UInt32 = 0
    var patched: PatchedModule?
    var filtered: Set<Int> = []
  }

  private let decoder: Decoder
  private let options: PatchOptions
  private var managed: [Managed] = []
  /// The first anomaly. Once it is set, every call throws it and nothing is patched any more.
  public private(set) var bug: FtraceBug?
  /// Records that ended with their module, in all.
  public private(set) var releasedRecords = 0
  private var armedStub: EntryStub?

  /// Plants the loader's hook, on which "before its first function runs" stands.
  public init(decoder: Decoder, options: PatchOptions = PatchOptions()) throws(LoaderHookError) {
    self.decoder = decoder
    self.options = options
    try LoaderHook.install(decoder: decoder)
  }

  /// From now on the table's module is converted whenever it is loaded, by whomever.
  public func adopt(_ table: SiteTable) {
    let plan = LoadPlan(nopping: table, writer: options.writer, decoder: decoder)
    managed.append(Managed(table: table, plan: plan))
  }

  /// dlopen of a module whose table was adopted. When it returns, the module's constructors have
  /// run, with every site a nop.
  public func load(_ path: String) throws -> Library {
    if let bug { throw bug }
    let library = try Library(path: path)
    try synchronize()
    return library
  }

  /// Takes note of what the loader's hook did: modules that came, modules that went.
  public func synchronize() throws(FtraceBug) {
    for index in managed.indices {
      let plan = managed[index].plan
      if let patched = managed[index].patched, !patched.isLoaded {
        releasedRecords += patched.table.sites.count
        managed[index].patched = nil
        managed[index].filtered = []
      }
      guard plan.isLoaded, plan.generation != managed[index].generation else { continue }
      managed[index].generation = plan.generation
      try take(index)
    }
  }

  private func take(_ index: Int) throws(FtraceBug) {
    let (table, plan) = (managed[index].table, managed[index].plan)
    guard let module = LoadedModule.find(buildID: table.buildID ?? []) else { return }
    let result = plan.result
    if result.status != NPC_OK {
      let error = PatchError(
        result, pokes: plan.pokesAtRunTime, module: module, table: table)
      try die(error, .initializing, module.loadBias, [])
    }
    do throws(PatchError) {
      managed[index].patched = try PatchedModule(
        module: module, table: table, decoder: decoder, plan: plan, state: 1)
    } catch {
      try die(error, .initializing, module.loadBias, [])
    }
  }

  private func die(
    _ error: PatchError, _ phase: FtraceBug.Phase, _ bias: UInt64, _ flags: Flags
  ) throws(FtraceBug) -> Never {
    let found = FtraceBug(
      error: error, phase: phase, loadBias: bias, recordFlags: flags.rawValue)
    bug = found
    throw found
  }

  /// The patched module of a table that was adopted, while it is loaded.
  public func module(of table: SiteTable) -> PatchedModule? {
    managed.first { $0.table.path == table.path && $0.table.buildID == table.buildID }?.patched
  }

  /// Records of modules that are loaded now.
  public var recordCount: Int {
    managed.reduce(0) { $0 + ($1.patched?.isLoaded == true ? $1.table.sites.count : 0) }
  }

  /// Marks the records of these functions. With no record marked a tracer wants all of them. A
  /// mark ends with its record: a module that comes again comes unmarked.
  public func setFilter(_ isWanted: (String) -> Bool) throws(FtraceBug) {
    try synchronize()
    for index in managed.indices where managed[index].patched != nil {
      let table = managed[index].table
      managed[index].filtered = Set(
        table.sites.indices.filter {
          table.functionName(of: table.sites[$0]).map(isWanted) ?? false
        })
    }
    isFilterSet = true
  }
  private var isFilterSet = false

  /// Arms every wanted site with a call of `entry`. Returns how many.
  @discardableResult
  public func startTracer(_ entry: UnsafeRawPointer) throws -> Int {
    if let bug { throw bug }
    try synchronize()
    var count = 0
    for index in managed.indices {
      guard let patched = managed[index].patched else { continue }
      let page = try EntryStubPage(near: patched.module.span, destinations: [entry])
      let wanted = isFilterSet ? managed[index].filtered.sorted() : nil
      count += try apply(patched, wanted, .call(page.stubs[0]), .toCall)
    }
    return count
  }

  /// Makes every armed site a nop again. Returns how many.
  @discardableResult
  public func stopTracer() throws -> Int {
    if let bug { throw bug }
    try synchronize()
    var count = 0
    for managed in managed {
      guard let patched = managed.patched else { continue }
      count += try apply(patched, nil, .nop, .toNop)
    }
    return count
  }

  /// Gives every site back as its file has it, and forgets the tables.
  public func detach() throws {
    try synchronize()
    for managed in managed {
      guard let patched = managed.patched, bug == nil else { continue }
      _ = try apply(patched, nil, .original, .toOtherCall)
    }
    managed = []
  }

  private func apply(
    _ patched: PatchedModule, _ sites: [Int]?, _ state: SiteState, _ phase: FtraceBug.Phase
  ) throws(FtraceBug) -> Int {
    do throws(PatchError) {
      return try patched.set(sites, to: state, options: options).sites
    } catch {
      let armed = error.offset.flatMap { patched.table.index(at: $0) }.map { patched.state(of: $0) }
      let isArmed = if case .call = armed { true } else { false }
      try die(error, phase, patched.module.loadBias, isArmed ? [.enabled] : [])
    }
  }
}
