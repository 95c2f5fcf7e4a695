// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CallSites
import MachineCode

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
  public let module: LoadedModule
  public let table: SiteTable
  private let decoder: Decoder
  private let plan: LoadPlan?
  private let generation: UInt32

  // One byte a site: an index into `states`. With the 16 bytes of a call site that is the whole
  // table; the 32 of a poke live as long as a transaction.
  private var stateIndices: [UInt8]
  private var states: [SiteState] = [.original, .nop]

  /// Takes a module as it is: no site changed.
  ///
  /// With the loader's hook in place the module's end is announced, and nothing is written after
  /// it. Without it, a transaction fails with `stale` once anything was unloaded.
  public convenience init(
    module: LoadedModule, table: SiteTable, decoder: Decoder
  ) throws(PatchError) {
    let plan = LoaderHook.isInstalled ? LoadPlan(tracking: module) : nil
    try self.init(module: module, table: table, decoder: decoder, plan: plan, state: 0)
  }

  init(
    module: LoadedModule, table: SiteTable, decoder: Decoder, plan: LoadPlan?, state: UInt8
  ) throws(PatchError) {
    self.module = module
    self.table = table
    self.decoder = decoder
    self.plan = plan
    generation = plan?.generation ?? 0
    stateIndices = Array(repeating: state, count: table.sites.count)
    guard module.buildID == table.buildID else { throw error(.moduleGone) }
  }

  /// Whether this generation of the module is still loaded. Always true without the loader's hook:
  /// the transaction finds out.
  public var isLoaded: Bool { plan.map { $0.isLoaded && $0.generation == generation } ?? true }

  public func state(of site: Int) -> SiteState { states[Int(stateIndices[site])] }

  public func address(of site: Int) -> UInt64 { module.loadBias &+ table.sites[site].offset }

  /// The sites that a protocol can serve: the jump guard wants one instruction whose first two
  /// bytes stand at an even address, the breakpoint one instruction.
  public func sites(servedBy method: PatchProtocol) -> [Int] {
    table.sites.indices.filter { site in
      let isOne = table.sites[site].form != .nop1x5
      return switch method {
      case .jumpGuard: isOne && address(of: site) % 2 == 0
      case .breakpoint: isOne
      default: true
      }
    }
  }

  /// Every site that is not as its file has it, in order: the journal.
  public var changes: [KnownChange] {
    stateIndices.indices.lazy.filter { self.stateIndices[$0] != 0 }.compactMap { index in
      guard let original = self.code(of: index, in: .original),
        let current = self.code(of: index, in: self.state(of: index)), original != current
      else { return nil }
      return KnownChange(
        address: self.address(of: index), original: original.bytes, current: current.bytes)
    }
  }

  /// Brings `sites` (indices into the table, ascending; all of them by default) into `state`, all
  /// or none. Sites that are in it already are not touched, and not counted.
  @discardableResult
  public func set(
    _ sites: [Int]? = nil, to state: SiteState, options: PatchOptions = PatchOptions()
  ) throws(PatchError) -> PatchReport {
    let target = index(of: state)
    var changed: [Int] = []
    let pokes: [npc_poke]
    if let sites {
      pokes = try prepare(sites, target, &changed)
    } else {
      pokes = try prepare(stateIndices.indices, target, &changed)
    }
    npc_patch_lock()
    defer { npc_patch_unlock() }
    // Under the lock: between this look and the write nothing can be unloaded.
    guard isLoaded else { throw error(.moduleGone) }
    let result = try execute(pokes, of: changed, options)
    for site in changed { stateIndices[site] = target }
    return PatchReport(
      sites: pokes.count, method: PatchProtocol(rawValue: result.protocol) ?? .automatic,
      stoppedThreads: Int(result.stopped), sleepingThreads: Int(result.asleep),
      stoppedNanoseconds: result.stopped_nanoseconds)
  }

  private func index(of state: SiteState) -> UInt8 {
    if let known = states.firstIndex(of: state) { return UInt8(known) }
    precondition(states.count < 256, "at most 254 stubs a module")
    states.append(state)
    return UInt8(states.count - 1)
  }

  // MARK: - Pokes

  private func prepare(
    _ sites: some Collection<Int>, _ target: UInt8, _ changed: inout [Int]
  ) throws(PatchError) -> [npc_poke] {
    var pokes: [npc_poke] = []
    pokes.reserveCapacity(sites.count)
    changed.reserveCapacity(sites.count)
    let wanted = states[Int(target)]
    for site in sites where stateIndices[site] != target {
      guard let replacement = code(of: site, in: wanted) else {
        throw error(.outOfReach, site: site)
      }
      changed.append(site)
      guard let poke = poke(site, replacement) else { continue }
      pokes.append(poke)
    }
    return pokes
  }

  /// nil: the site holds these bytes already (a nop that its compiler made).
  private func poke(_ site: Int, _ replacement: Code) -> npc_poke? {
    let callSite = table.sites[site]
    let state = states[Int(stateIndices[site])]
    guard let expected = code(of: site, in: state), expected != replacement else { return nil }
    var poke = npc_poke()
    poke.address = module.loadBias &+ callSite.offset
    poke.length = UInt8(expected.length)
    poke.expected = expected.tuple
    poke.replacement = replacement.tuple
    switch state {
    case .original: describeOriginal(callSite, &poke)
    case .nop: describeNop(callSite, &poke)
    case .call(let stub):
      poke.expected_kind = Instruction.Kind.call.rawValue
      poke.target = stub.address
    }
    return poke
  }

  private func describeOriginal(_ site: CallSite, _ poke: inout npc_poke) {
    let expectation = table.expectation(of: site)
    poke.expected_kind = expectation.kind
    poke.target = expectation.target == 0 ? 0 : module.loadBias &+ expectation.target
    if site.form == .nop1x5 { poke.flags = UInt8(NPC_POKE_RUN_OF_NOPS) }
  }

  private func describeNop(_ site: CallSite, _ poke: inout npc_poke) {
    poke.expected_kind = Instruction.Kind.nop.rawValue
  }

  /// nil: the stub is out of reach.
  private func code(of site: Int, in state: SiteState) -> Code? {
    let callSite = table.sites[site]
    switch state {
    case .original: return table.code(of: callSite)
    case .nop:
      let isNop = callSite.form == .nop5 || callSite.form == .nop6
      return isNop ? table.code(of: callSite) : .nop(length: callSite.length)
    case .call(let stub):
      return .call(to: stub.address, at: address(of: site), length: callSite.length)
    }
  }

  // MARK: - The transaction

  private func execute(
    _ pokes: [npc_poke], of changed: [Int], _ options: PatchOptions
  ) throws(PatchError) -> npc_result {
    var result = npc_result()
    let prepared = npc_patch_prepare()
    guard prepared == 0 else { throw error(.noSync, errorNumber: prepared) }
    let buildID = module.buildID ?? []
    let isDone = pokes.withUnsafeBufferPointer { pokes in
      buildID.withUnsafeBufferPointer { buildID in
        var transaction = npc_transaction()
        transaction.pokes = pokes.baseAddress
        transaction.count = pokes.count
        transaction.load_bias = module.loadBias
        transaction.build_id = buildID.baseAddress
        transaction.build_id_length = UInt32(buildID.count)
        transaction.check_unloads = plan == nil
        transaction.subs = module.unloadCount
        transaction.protocol = options.method.rawValue
        transaction.writer = options.writer.rawValue
        transaction.stop_timeout_milliseconds = options.stopTimeoutMilliseconds
        transaction.verify = capstoneVerifier
        transaction.verifier = UnsafeMutableRawPointer(decoder.handle)
        return npc_transaction_execute(&transaction, &result)
      }
    }
    if !isDone { throw error(result, pokes) }
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
