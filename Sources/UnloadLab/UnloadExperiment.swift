// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CUnloadLab
import CallSites
import LivePatching
import MachineCode

/// The experiment behind the table: an engine records a site of the specimen, the module goes,
/// something comes to stand at its address, and the engine does what it does next.
public final class UnloadExperiment {
  private let specimens: PreparedSpecimens
  private let site: Int
  private let function = "specimen_at_hsfsts"

  public init(_ specimens: PreparedSpecimens) throws {
    self.specimens = specimens
    site = try specimens.site(of: function)
  }

  public func cell(
    _ engine: LabEngine, _ occupant: Occupant, _ record: RecordState
  ) throws -> UnloadCell {
    // Another thread's mapping may take the place between the close and the next map: that run
    // shows nothing, so it is made again.
    for attempt in 1... {
      do {
        return try engine == .static
          ? staticCell(occupant, record) : daemonCell(engine, occupant, record)
      } catch let error as PlacementError where attempt < 5 {
        _ = error
      }
    }
    preconditionFailure("the loop above returns or throws")
  }

  // MARK: - 2.6.27

  private func daemonCell(
    _ version: LabEngine, _ occupant: Occupant, _ record: RecordState
  ) throws -> UnloadCell {
    // No cycle but those that are asked for: each cell is one event.
    let engine = DaemonEngine(
      version: .init(rawValue: version.rawValue) ?? .shipped,
      intervalMicroseconds: 600_000_000)
    try engine.attach()
    defer { engine.detach() }
    // One record a cell: the module's constructors and destructor call mcount unrecorded.
    McountMode.current = .off
    let library = try Library(path: specimens.path)
    let module = try loadedSpecimen()
    let ip = module.loadBias + specimens.table.sites[site].offset
    try engine.register(text(of: module))
    McountMode.current = .record
    try call(library)
    McountMode.current = .off
    try bring(engine, to: record, ip)
    let place = try OccupiedAddress(
      occupant, insteadOf: module, handle: library.relinquish()!, ip: ip,
      expected: bytes(at: ip), specimens: specimens)
    defer {
      McountMode.current = .off
      place.vacate()
    }
    McountMode.current = .record
    if occupant == .sameModule { try engine.register(text(of: loadedSpecimen())) }
    let faults = engine.statistics.faulted
    let observation = try place.observe {
      switch record {
      case .pending: try engine.waitForCycle(now: true)
      // A tracer that starts while the same module's site is a fresh call would end the stale
      // record. Before that the question is whether it is ever made a nop again.
      case .converted where occupant == .sameModule: try engine.waitForCycle(now: true)
      case .converted: try engine.startTracer()
      case .enabled: try engine.stopTracer()
      }
    }
    let isFaulted = engine.statistics.faulted > faults
    let noppedAgain = try place.library.flatMap { library in
      occupant == .sameModule ? try isNopped(library, ip) { try engine.waitForCycle(now: true) } : nil
    }
    return cell(
      version, record, place, observation, isFaulted: isFaulted, noppedAgain: noppedAgain)
  }

  private func bring(_ engine: DaemonEngine, to record: RecordState, _ ip: UInt64) throws {
    if record == .pending { return }
    try engine.waitForCycle(now: true)
    try engine.filter(ip)
    if record == .enabled { try engine.startTracer() }
  }

  private func text(of module: LoadedModule) throws -> InstrumentedText {
    let table = specimens.table
    return InstrumentedText(
      start: module.text.lowerBound, end: module.text.upperBound,
      mcountStub: module.loadBias + table.target(of: table.sites[site]))
  }

  // MARK: - 2.6.28

  private func staticCell(_ occupant: Occupant, _ record: RecordState) throws -> UnloadCell {
    let engine = try StaticEngine(decoder: specimens.decoder)
    engine.adopt(specimens.table)
    McountMode.clearCounts()
    McountMode.current = .count
    defer { McountMode.current = .off }
    let library = try engine.load(specimens.path)
    let module = try loadedSpecimen()
    let ip = module.loadBias + specimens.table.sites[site].offset
    if record == .pending {
      defer { library.close() }
      return unreachable(occupant, module)
    }
    try engine.setFilter { $0 == function }
    if record == .enabled { try engine.startTracer(countEntry) }
    let place = try OccupiedAddress(
      occupant, insteadOf: module, handle: library.relinquish()!, ip: ip, expected: bytes(at: ip),
      specimens: specimens)
    defer { place.vacate() }
    let observation = try place.observe {
      if record == .enabled { try engine.stopTracer() } else { try engine.startTracer(countEntry) }
    }
    let noppedAgain = try place.library.flatMap { library in
      occupant == .sameModule ? try isNopped(library, ip) {} : nil
    }
    return cell(.static, record, place, observation, isFaulted: false, noppedAgain: noppedAgain)
  }

  /// A static engine has no pending state: when dlopen returns, with the constructor's calls made,
  /// no site is a call and none has called mcount.
  private func unreachable(_ occupant: Occupant, _ module: LoadedModule) -> UnloadCell {
    let isAllNops = specimens.table.sites.allSatisfy { site in
      bytes(at: module.loadBias + site.offset) == Code.nop(length: site.length).bytes
    }
    let isUnreachable = isAllNops && McountMode.callCount == 0
    return UnloadCell(
      engine: .static, occupant: occupant, record: .pending,
      outcome: isUnreachable ? .unreachable : .overwritten, deviceReads: 0, deviceWrites: 0,
      bytesChanged: 0, expected: .unreachable, held: isUnreachable, landed: false)
  }

  // MARK: - Both

  private func loadedSpecimen() throws -> LoadedModule {
    guard let module = LoadedModule.find(buildID: specimens.table.buildID ?? []) else {
      throw LibraryError(text: "\(specimens.path): is not loaded")
    }
    return module
  }

  private func call(_ library: Library) throws {
    typealias Function = @convention(c) () -> Void
    unsafeBitCast(try library.symbol(function), to: Function.self)()
  }

  /// The same module again: call it, let the engine do its work, and look.
  private func isNopped(
    _ library: Library, _ ip: UInt64, _ work: () throws -> Void
  ) throws -> Bool {
    try call(library)
    try work()
    return bytes(at: ip) == Code.nop(length: 5).bytes
  }

  private func bytes(at address: UInt64) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 5)
    let source = UnsafeRawPointer(bitPattern: UInt(address))
    return npc_read_fixed_up(&bytes, source, bytes.count) ? bytes : []
  }

  private func cell(
    _ engine: LabEngine, _ record: RecordState, _ place: OccupiedAddress,
    _ seen: OccupiedAddress.Observation, isFaulted: Bool, noppedAgain: Bool?
  ) -> UnloadCell {
    let outcome: Outcome =
      if place.occupant == .device, seen.deviceReads + seen.deviceWrites > 0 {
        .deviceAccess
      } else if seen.bytesChanged > 0 {
        .overwritten
      } else if isFaulted {
        .fault
      } else if seen.writeCycles ?? 0 > 0 {
        .mismatchWriteCycle
      } else if noppedAgain == false {
        .neverNopped
      } else {
        .untouched
      }
    let expected = UnloadCell.expectation(engine, place.occupant, record)
    return UnloadCell(
      engine: engine, occupant: place.occupant, record: record, outcome: outcome,
      deviceReads: seen.deviceReads, deviceWrites: seen.deviceWrites,
      bytesChanged: seen.bytesChanged, expected: expected, held: outcome == expected,
      reads: seen.reads, writeCycles: seen.writeCycles, landed: place.placement.landed,
      noppedAgain: noppedAgain)
  }
}

/// The smallest tracer's entry, which counts.
var countEntry: UnsafeRawPointer { nul_count_entry_address() }
