// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CUnloadLab
import CallSites
import LivePatching
import MachineCode
public import Units

/// One call site of the specimen that becomes stale: an engine has a record of it, its module is
/// unloaded, something else is mapped there, and the engine does what it does next.
public final class StaleSite {
  private enum Patcher {
    case daemon(DaemonEngine)
    case `static`(StaticEngine)
  }

  /// Whose record it is.
  public let engine: LabEngine
  /// The state that the record was brought into.
  public let record: RecordState
  /// The site's address: of its module while that is loaded, of whatever comes afterwards.
  public let ip: CodeAddress
  /// No site is a call and none has called mcount, although the module's constructor has run: a
  /// static engine's answer to "pending".
  public private(set) var isConvertedBeforeFirstCall = false
  private let patcher: Patcher
  private let specimens: PreparedSpecimens
  private let function: String
  private let site: Int
  private let library: Library
  private let module: LoadedModule

  /// Loads the specimen and brings the engine's record of `function`'s site into `record`.
  public init(
    _ engine: LabEngine, _ record: RecordState, specimens: PreparedSpecimens,
    function: String = "specimen_at_hsfsts"
  ) throws {
    self.engine = engine
    self.record = record
    self.specimens = specimens
    self.function = function
    site = try specimens.site(of: function)
    if let version = DaemonEngine.Version(rawValue: engine.rawValue) {
      // No cycle but those that are called for here: each experiment is one event.
      let daemon = DaemonEngine(version: version, intervalMicroseconds: 600_000_000)
      try daemon.attach()
      // One record an experiment: constructors and destructors call mcount unrecorded.
      McountMode.current = .off
      patcher = .daemon(daemon)
      library = try Library(path: specimens.path)
    } else {
      let fixed = try StaticEngine(decoder: specimens.decoder)
      try fixed.adopt(specimens.table)
      McountMode.clearCounts()
      McountMode.current = .count
      patcher = .static(fixed)
      library = try fixed.load(specimens.path)
    }
    module = try StaleSite.loaded(specimens)
    ip = module.loadBias + specimens.table.sites[site].offset
    switch patcher {
    case .daemon(let daemon): try bring(daemon)
    case .static(let fixed): try bring(fixed)
    }
  }

  /// Leaves the process as it was: no engine, no specimen.
  public func close() {
    McountMode.current = .off
    if case .daemon(let daemon) = patcher { daemon.detach() }
    library.close()
  }

  private func bring(_ daemon: DaemonEngine) throws {
    try register(daemon)
    McountMode.current = .record
    try call(library)
    McountMode.current = .off
    guard record != .pending else { return }
    try daemon.waitForCycle(now: true)
    try daemon.filter(ip)
    if record == .enabled { try daemon.startTracer() }
  }

  private func bring(_ fixed: StaticEngine) throws {
    let isAllNops = specimens.table.sites.allSatisfy { site in
      readBytes(at: module.loadBias + site.offset, count: site.length)
        == Code.nop(length: site.length).bytes
    }
    isConvertedBeforeFirstCall = isAllNops && McountMode.callCount == 0
    try fixed.setFilter { $0 == function }
    if record == .enabled { try fixed.startTracer(nul_count_entry_address()) }
  }

  private func register(_ daemon: DaemonEngine) throws {
    let module = try StaleSite.loaded(specimens)
    let stub = module.loadBias + specimens.table.target(of: specimens.table.sites[site])
    try daemon.register(
      InstrumentedText(
        start: module.text.lowerBound, end: module.text.upperBound, mcountStub: stub))
  }

  private static func loaded(_ specimens: PreparedSpecimens) throws -> LoadedModule {
    guard let module = LoadedModule.find(buildID: specimens.table.buildID ?? []) else {
      throw LibraryError(text: "\(specimens.path): is not loaded")
    }
    return module
  }

  private func call(_ library: Library) throws {
    typealias Function = @convention(c) () -> Void
    unsafeBitCast(try library.symbol(function), to: Function.self)()
  }

  // MARK: - What happens to it

  /// The module goes; the occupant comes.
  public func unload(
    leaving occupant: Occupant, writeBack: E1000eDevice.WriteBack = .valueRead
  ) throws -> OccupiedAddress {
    guard let handle = library.relinquish() else {
      throw LibraryError(text: "\(specimens.path): was unloaded before the experiment unloads it")
    }
    let place = try OccupiedAddress(
      occupant, insteadOf: module, handle: handle, ip: ip,
      expected: readBytes(at: ip, count: 5), specimens: specimens, writeBack: writeBack)
    if case .daemon(let daemon) = patcher {
      if occupant == .sameModule { try register(daemon) }
      McountMode.current = .record
    }
    return place
  }

  /// What the engine does next, by the record's state: the daemon wakes, a tracer starts, the
  /// running tracer stops. Returns whether an access of it faulted.
  public func fire(at occupant: Occupant) throws -> Bool {
    switch patcher {
    case .daemon(let daemon):
      let before = daemon.statistics.faulted
      switch record {
      case .pending: try daemon.waitForCycle(now: true)
      // A tracer that starts while the same module's site is a fresh call would end the stale
      // record. Before that the question is whether it is ever made a nop again.
      case .converted where occupant == .sameModule: try daemon.waitForCycle(now: true)
      case .converted: try daemon.startTracer()
      case .enabled: try daemon.stopTracer()
      }
      return daemon.statistics.faulted > before
    case .static(let fixed):
      if record == .enabled {
        try fixed.stopTracer()
      } else {
        try fixed.startTracer(nul_count_entry_address())
      }
      return false
    }
  }

  /// The same module again: its function is called, the engine does its work; is the site a nop?
  public func isNoppedAgain(in library: Library) throws -> Bool {
    try call(library)
    if case .daemon(let daemon) = patcher { try daemon.waitForCycle(now: true) }
    return readBytes(at: ip, count: 5) == Code.nop(length: 5).bytes
  }
}

/// Bytes of this process's memory by ordinary loads, under the fault fix-up; empty where nothing is
/// mapped.
func readBytes(at address: CodeAddress, count: Int) -> [UInt8] {
  var bytes = [UInt8](repeating: 0, count: count)
  return npc_read_fixed_up(&bytes, address.pointer, count) ? bytes : []
}
