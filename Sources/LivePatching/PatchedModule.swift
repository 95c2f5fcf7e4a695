// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CallSites
import MachineCode
public import Units

/// What a call site is to do.
public enum SiteState: Equatable, Sendable {
  /// As its file has it.
  case original
  /// One nop. A site that its compiler made one nop already is that.
  case nop
  /// Calls the stub.
  case call(EntryStub)
}

/// A loaded module whose call sites are patched live. It keeps the journal: what each site holds
/// now. Not for two threads at once; the transactions of several modules exclude each other.
public final class PatchedModule {
  /// The loaded library.
  public let module: LoadedModule
  /// Its call sites.
  public let table: SiteTable
  private let decoder: Decoder
  private let plan: LoadPlan?
  private let generation: UInt32

  // One byte a site: an index into `states`. With the 16 bytes of a call site that is the whole
  // table; the 32 of a poke live as long as a transaction.
  private var stateIndices: [UInt8]
  /// What a site takes besides its entry in the table.
  public static var stateBytesPerSite: Int { MemoryLayout<UInt8>.stride }
  private var states: [SiteState] = [.original, .nop]

  /// Takes a module as it is: no site changed.
  ///
  /// With the loader's hook in place the module's end is announced, and nothing is written after
  /// it; where anything was unloaded since `module` was looked at, this throws `stale`. Without it,
  /// a transaction fails with `stale` once anything was unloaded.
  public convenience init(
    module: LoadedModule, table: SiteTable, decoder: Decoder
  ) throws(PatchError) {
    let isHooked = LoaderHook.isInstalled
    let plan = isHooked ? LoadPlan(tracking: module) : nil
    try self.init(
      module: module, table: table, decoder: decoder, plan: plan, generation: 1, state: 0)
    if isHooked, plan == nil { throw error(.stale) }
  }

  init(
    module: LoadedModule, table: SiteTable, decoder: Decoder, plan: LoadPlan?, generation: UInt32,
    state: UInt8
  ) throws(PatchError) {
    self.module = module
    self.table = table
    self.decoder = decoder
    self.plan = plan
    self.generation = generation
    stateIndices = Array(repeating: state, count: table.sites.count)
    guard module.buildID == table.buildID else { throw error(.moduleGone) }
  }

  /// Whether this generation of the module is still loaded. Always true where the loader's hook was
  /// not there from the start: the transaction finds out.
  public var isLoaded: Bool { plan?.isLoaded(generation) ?? true }

  /// What is at the site with this index in `table`.
  public func state(of site: Int) -> SiteState { states[Int(stateIndices[site])] }

  /// Run-time address of the site with this index in `table`.
  public func address(of site: Int) -> CodeAddress { module.loadBias + table.sites[site].offset }

  /// The sites that a protocol can patch: the jump guard needs one instruction whose first two
  /// bytes are at an even address, the breakpoint one instruction.
  public func sites(servedBy method: PatchProtocol) -> [Int] {
    table.sites.indices.filter { site in
      let isOne = table.sites[site].form != .nop1x5
      return switch method {
      case .jumpGuard: isOne && address(of: site).rawValue % 2 == 0
      case .breakpoint: isOne
      default: true
      }
    }
  }

  /// Every site that is not as its file has it, in order: the journal.
  public var changes: [KnownChange] {
    PokeBuilder.with(table, loadBias: module.loadBias) { builder, callSites in
      stateIndices.indices.compactMap { index in
        if stateIndices[index] == 0 { return nil }
        let site = callSites[index]
        guard let original = builder.code(of: site, in: .original),
          let current = builder.code(of: site, in: state(of: index)), original != current
        else { return nil }
        return KnownChange(
          address: address(of: index), original: original.bytes, current: current.bytes)
      }
    }
  }

  /// Brings `sites` (indices into the table, ascending; all of them by default) into `state`, all
  /// or none. Sites that are in it already are not touched, and not counted.
  @discardableResult
  public func set(
    _ sites: [Int]? = nil, to state: SiteState, options: PatchOptions = PatchOptions()
  ) throws(PatchError) -> PatchReport {
    let target = index(of: state)
    let pokes: [npc_poke]
    if let sites {
      pokes = try prepare(sites, target)
    } else {
      pokes = try prepare(stateIndices.indices, target)
    }
    let prepared = npc_patch_prepare()
    guard prepared == 0 else { throw error(.noSync, errorNumber: prepared) }
    var result = npc_result()
    var retry = npc_retry_begin(options.stopTimeoutMilliseconds)
    repeat {
      result = try attempt(pokes, options, target, sites)
    } while npc_retry_wait(&retry, &result)
    guard result.status == NPC_OK else { throw error(result, pokes) }
    return PatchReport(
      sites: pokes.count, method: PatchProtocol(rawValue: result.protocol) ?? .automatic,
      stoppedThreads: Int(result.stopped), sleepingThreads: Int(result.asleep),
      movedThreads: Int(result.moved), stoppedNanoseconds: result.stopped_nanoseconds)
  }

  /// Tries once, and writes the journal.
  private func attempt(
    _ pokes: [npc_poke], _ options: PatchOptions, _ target: UInt8, _ sites: [Int]?
  ) throws(PatchError) -> npc_result {
    npc_patch_lock()
    defer { npc_patch_unlock() }
    // Under the lock: between this look and the write nothing can be unloaded.
    guard isLoaded else { throw error(.moduleGone) }
    let result = execute(pokes, options)
    // Where only the closing failed, the bytes were written.
    let isWritten = result.status == NPC_OK || result.phase == NPC_PHASE_CLOSE
    if isWritten { note(target, at: sites) }
    return result
  }

  private func note(_ target: UInt8, at sites: [Int]?) {
    for site in sites ?? [] { stateIndices[site] = target }
    if sites == nil { stateIndices = Array(repeating: target, count: stateIndices.count) }
  }

  private func index(of state: SiteState) -> UInt8 {
    if let known = states.firstIndex(of: state) { return UInt8(known) }
    precondition(states.count < 256, "at most 254 stubs a module")
    states.append(state)
    return UInt8(states.count - 1)
  }

  // MARK: - Pokes

  /// The pokes of those of `sites` that are not in the state `target` yet.
  private func prepare(
    _ sites: some Collection<Int>, _ target: UInt8
  ) throws(PatchError) -> [npc_poke] {
    // Taken out of the object once: in the loop nothing is counted, locked or allocated.
    let (states, current) = (states, stateIndices)
    let wanted = states[Int(target)]
    var outOfReach: Int?
    let pokes = PokeBuilder.with(table, loadBias: module.loadBias) { builder, callSites in
      [npc_poke](unsafeUninitializedCapacity: sites.count) { pokes, count in
        for index in sites where current[index] != target {
          guard let replacement = builder.code(of: callSites[index], in: wanted) else {
            outOfReach = index
            return
          }
          let from = states[Int(current[index])]
          // None where it holds these bytes already: a nop that its compiler made.
          guard let poke = builder.poke(callSites[index], from: from, to: replacement) else {
            continue
          }
          pokes.initializeElement(at: count, to: poke)
          count += 1
        }
      }
    }
    if let outOfReach { throw error(.outOfReach, site: outOfReach) }
    return pokes
  }

  // MARK: - The transaction

  private func execute(_ pokes: [npc_poke], _ options: PatchOptions) -> npc_result {
    var result = npc_result()
    let buildID = module.buildID ?? []
    pokes.withUnsafeBufferPointer { pokes in
      buildID.withUnsafeBufferPointer { buildID in
        var transaction = npc_transaction()
        transaction.pokes = pokes.baseAddress
        transaction.count = pokes.count
        transaction.load_bias = module.loadBias.rawValue
        transaction.build_id = buildID.baseAddress
        transaction.build_id_length = UInt32(buildID.count)
        // Without the hook no unload is reported, so the loader's count is compared.
        transaction.check_unloads = plan == nil || !LoaderHook.isInstalled
        transaction.subs = plan?.current.unloadCount ?? module.unloadCount
        transaction.protocol = options.method.rawValue
        transaction.writer = options.writer.rawValue
        transaction.stop_timeout_milliseconds = options.stopTimeoutMilliseconds
        transaction.verify = capstoneVerifier
        transaction.verifier = UnsafeMutableRawPointer(decoder.handle)
        _ = npc_transaction_try(&transaction, &result)
      }
    }
    return result
  }

  private func error(
    _ reason: PatchError.Reason, site: Int? = nil, errorNumber: Int32 = 0
  ) -> PatchError {
    PatchError(
      reason: reason, phase: .prepare, module: module.name,
      offset: site.map { table.sites[$0].offset },
      function: site.flatMap { table.functionName(of: table.sites[$0]) },
      expected: [], actual: [], thread: 0, errorNumber: errorNumber, isRolledBack: false)
  }

  private func error(_ result: npc_result, _ pokes: [npc_poke]) -> PatchError {
    PatchError(result, pokes: pokes, module: module, table: table)
  }
}
