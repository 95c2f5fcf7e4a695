// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CallSites
import MachineCode
import Units

/// The 2.6.28 design: sites come from the build, a module is converted after it is mapped and
/// before its first function runs, its records end before its memory can be reused, and
/// the first anomaly turns the tracer off for good. No compare-and-swap anywhere.
public final class StaticEngine {
  /// What the engine knows of one site, beside its state.
  public struct Flags: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt32
    /// Flags of these bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// The filter chose it.
    public static let filter = Flags(rawValue: 1)
    /// It calls the tracer.
    public static let enabled = Flags(rawValue: 2)
  }

  /// One table's module: the plan for each load, and its records while it is loaded.
  private struct Managed {
    let table: SiteTable
    let plan: LoadPlan
    var generation: UInt32 = 0
    var patched: PatchedModule?
    var filtered: Set<Int> = []
    /// Made once for each entry and place of the module: a stub page is never unmapped.
    var stubs: [StubKey: EntryStub] = [:]
  }

  private struct StubKey: Hashable {
    let entry: UnsafeRawPointer
    let loadBias: LoadBias
  }

  private let decoder: Decoder
  private let options: PatchOptions
  private var managed: [Managed] = []
  /// The first anomaly. Once it is set, every call throws it and nothing is patched any more.
  public private(set) var bug: FtraceBug?
  /// Records that ended with their module, in all.
  public private(set) var releasedRecords = 0

  /// Puts in the loader's hook, which converts a module before its first function runs.
  public init(decoder: Decoder, options: PatchOptions = PatchOptions()) throws(LoaderHookError) {
    self.decoder = decoder
    self.options = options
    try LoaderHook.install(decoder: decoder)
  }

  /// From now on the table's module is converted whenever it is loaded, by whomever. One that is
  /// loaded already is left alone: its code runs.
  public func adopt(_ table: SiteTable) throws(StaticEngineError) {
    if table.hasTextRelocations { throw .textRelocations(path: table.path) }
    if table.buildID == nil { throw .noBuildID(path: table.path) }
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

  /// Takes note of what the loader's hook did: modules that were unloaded or loaded.
  public func synchronize() throws(FtraceBug) {
    release()
    if let bug { throw bug }
    for index in managed.indices {
      let current = managed[index].plan.current
      guard current.isLoaded, current.number != managed[index].generation else { continue }
      managed[index].generation = current.number
      release()  // the generation before may have ended since
      try take(index, current)
    }
  }

  private func release() {
    for index in managed.indices {
      guard let patched = managed[index].patched, !patched.isLoaded else { continue }
      releasedRecords += patched.table.sites.count
      managed[index].patched = nil
      managed[index].filtered = []
    }
  }

  private func take(_ index: Int, _ current: LoadPlan.Generation) throws(FtraceBug) {
    let (table, plan) = (managed[index].table, managed[index].plan)
    guard let module = LoadedModule.find(buildID: table.buildID, loadBias: current.loadBias) else {
      return  // it went meanwhile
    }
    if current.result.status != NPC_OK {
      let error = PatchError(current.result, pokes: current.pokes, module: module, table: table)
      try die(error, .initializing, module.loadBias, [])
    }
    do throws(PatchError) {
      managed[index].patched = try PatchedModule(
        module: module, table: table, decoder: decoder, plan: plan, generation: current.number,
        state: 1)
    } catch {
      try die(error, .initializing, module.loadBias, [])
    }
  }

  private func die(
    _ error: PatchError, _ phase: FtraceBug.Phase, _ bias: LoadBias, _ flags: Flags
  ) throws(FtraceBug) -> Never {
    let found = FtraceBug(
      error: error, phase: phase, loadBias: bias, recordFlags: flags.rawValue)
    bug = found
    for managed in managed { managed.plan.stopPatching() }
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

  /// Marks the records of these functions: from now on a tracer arms the marked ones alone, all
  /// before. A mark ends with its record: a module that is loaded again is unmarked.
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
      let stub = try stub(of: entry, index, patched.module)
      let wanted = isFilterSet ? managed[index].filtered.sorted() : nil
      count += try apply(patched, wanted, .call(stub), .toCall)
    }
    return count
  }

  private func stub(
    of entry: UnsafeRawPointer, _ index: Int, _ module: LoadedModule
  ) throws(EntryStubError) -> EntryStub {
    let key = StubKey(entry: entry, loadBias: module.loadBias)
    if let known = managed[index].stubs[key] { return known }
    let stub = try EntryStubPage(near: module.span, destinations: [entry]).stubs[0]
    managed[index].stubs[key] = stub
    return stub
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

  /// Makes every site as its file has it, and drops the tables. After a bug it only drops them:
  /// nothing is patched any more.
  public func detach() throws {
    defer { managed = [] }
    guard bug == nil else { return }
    try synchronize()
    for managed in managed {
      guard let patched = managed.patched else { continue }
      _ = try apply(patched, nil, .original, .toOtherCall)
    }
  }

  private func apply(
    _ patched: PatchedModule, _ sites: [Int]?, _ state: SiteState, _ phase: FtraceBug.Phase
  ) throws(FtraceBug) -> Int {
    do throws(PatchError) {
      return try patched.set(sites, to: state, options: options).sites
    } catch {
      // A module that another thread closed meanwhile is no anomaly: its records end.
      if error.reason == .moduleGone || error.reason == .stale {
        release()
        return 0
      }
      let armed = error.offset.flatMap { patched.table.index(at: $0) }.map { patched.state(of: $0) }
      let isArmed = if case .call = armed { true } else { false }
      try die(error, phase, patched.module.loadBias, isArmed ? [.enabled] : [])
    }
  }
}
