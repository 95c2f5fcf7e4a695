// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Glibc
import RecordingSchema
import TextFormat
import Units

/// What the recorder writes: session.json, a line for each process, its modules, their symbols, and
/// the last events of processes that have ended. It counts modules and keeps warnings for the user
/// as it goes.
///
/// What it does for a process costs the same however many there were before.
final class RecordingWriter {
  let folder: RecordingFolder
  private(set) var session: Session
  /// Those that joined.
  private(set) var images: [ImageName] = []
  /// Processes that are known not to be recorded, or not wholly.
  private(set) var missingCount = 0
  /// The last of them: a process may say the same twice.
  private var lastMissing: MissingProcess?
  /// What the user should know, one line each, the same line once.
  private(set) var warnings: [String] = []
  private let clock: TraceClock
  /// Names in symbols/ that are written, with a hash of what they hold.
  private var savedSymbols: [String: UInt64] = [:]
  /// Each file once, however many processes loaded it.
  private var modulesSeen: [String: ModuleTotals] = [:]
  /// For their source lines.
  private var loaded = LoadedFunctions()
  /// Of those that were seen before `modulesSeen` was full.
  private var earlierModules = ModuleTotals()

  /// When session.json is written a second time: by then the clock's rate is known to some parts in a
  /// million, and a recorder that is killed later leaves that.
  private static let clockNanoseconds: UInt64 = 50_000_000
  private static let mostWarnings = 100
  /// Files that are counted once however often they are loaded. A program that loads more has some
  /// counted again.
  private static let mostModulesSeen = 65_536
  /// Missing processes that get a warning each.
  private static let mostMissingLines = 20

  /// Writes the first session.json: what cannot be written is known before the program runs. It is
  /// written again when the clock's rate is known well, and at the end.
  init(
    folder: RecordingFolder, command: [String], options: RecordOptions, clock: TraceClock,
    loop: EventLoop
  ) throws {
    self.folder = folder
    self.clock = clock
    session = Session()
    session.command = command
    session.tracerName = options.tracer.name
    session.options = options.session
    session.startRealtimeNanoseconds = clock.startRealtimeNanoseconds
    session.host = hostName()
    try writeSession()
    loop.after(nanoseconds: Self.clockNanoseconds) { [weak self] in self?.writeSessionOrWarn() }
  }

  /// Makes what the first process and module need, before an agent waits for the answer.
  func prepare() {
    savedSymbols.reserveCapacity(RecordServer.usualCount)
    modulesSeen.reserveCapacity(RecordServer.usualCount)
    var load = ModuleLoad(generation: 0, path: "")
    load.plan = SitePlan().text
    _ = try? RecordingJSON.encode(ModuleLine.load(load))
    let image = ImageName(pid: 0, incarnation: 0)
    let process = Session.Process(image: image, parent: 0, program: "", begin: .start)
    _ = try? RecordingJSON.encode(ProcessLine.joined(process))
  }

  /// Why it is not recorded when threads left the CPU.
  func noteNoSwitches(_ reason: String) { session.noSwitches = reason }

  func warn(_ line: String) {
    if warnings.count < Self.mostWarnings, !warnings.contains(line) { warnings.append(line) }
  }
}

// MARK: - session.json, processes

extension RecordingWriter {
  /// A process has joined: its line is appended.
  func add(_ process: TracedProcess) {
    images.append(process.image)
    write(.joined(process.session))
  }

  /// A process is missing: a line of its own too, and a warning, as long as they are few.
  func add(_ process: MissingProcess) {
    if process == lastMissing { return }
    lastMissing = process
    missingCount += 1
    write(.missing(process))
    if missingCount > Self.mostMissingLines { return }
    warn(
      "process \(process.pid) (\(process.program ?? "?")) is not recorded: \(process.reason)")
  }

  private func write(_ line: ProcessLine) {
    do {
      try folder.append(RecordingJSON.encode(line), to: RecordingFormat.processesName)
    } catch {
      warn("\(error)")
    }
  }

  /// The recording ends: session.json says so.
  func finish(exitStatus: Int32?) {
    session.hasEnded = true
    session.exitStatus = exitStatus.map(Int.init)
    writeSessionOrWarn()
  }

  /// Saves where the functions that were called are defined. The recording is complete without it, and
  /// is closed before.
  func saveSourceLines(_ saver: SourceLineSaver) {
    let lines = saver.save(loaded, in: folder, started: clock.startRealtimeNanoseconds)
    for line in lines { warn(line) }
  }

  private func writeSessionOrWarn() {
    do { try writeSession() } catch { warn("\(error)") }
  }

  /// The session of a snapshot: it is complete, though the program runs.
  func closedSession() throws -> [UInt8] {
    var closed = session
    closed.hasEnded = true
    closed.ticksPerSecond = clock.ticksPerSecond()
    return try RecordingJSON.encode(closed) + [0x0a]
  }

  private func writeSession() throws {
    session.ticksPerSecond = clock.ticksPerSecond()
    try folder.replace(RecordingFormat.sessionName, RecordingJSON.encode(session) + [0x0a])
  }
}

// MARK: - Files of one process

extension RecordingWriter {
  /// Makes the files of a process, empty: the one for events is returned.
  func makeFiles(of process: TracedProcess) throws(RecordingFolderError) -> Descriptor {
    let events = Descriptor(try folder.create(process.image.events))
    close(try folder.create(process.image.modules))
    return events
  }

  /// Appends the modules' lines.
  func writeLoads(_ modules: some Sequence<TracedModule>, of process: TracedProcess) {
    for module in modules { loaded.add(module, of: process.image) }
    write(modules.map { .load($0.load) }, of: process)
  }

  func writeUnload(_ generation: UInt32, at time: ClockUnits, of process: TracedProcess) {
    write([.unload(ModuleUnload(generation: Int(generation), time: time))], of: process)
  }

  private func write(_ lines: [ModuleLine], of process: TracedProcess) {
    if lines.isEmpty { return }
    do {
      let lines = try lines.map(RecordingJSON.encode)
      try folder.append(Array(lines.joined(separator: [0x0a])), to: process.image.modules)
    } catch {
      warn("\(error)")
    }
  }

  /// All events of a process that has ended are written, but where there was an `error`.
  func noteEnd(of process: TracedProcess, error: Int32) {
    if error != 0 {
      warn("\(process.image.events): \(systemError(error)): some of its events are lost")
    }
  }
}

// MARK: - Modules

extension RecordingWriter {
  /// Saves the names of the module's call sites, or finds them saved; false where that fails.
  ///
  /// Before its plan is sent: no event may name a function whose name is not saved. Other symbols
  /// may be there under the module's usual name: builds whose build-id was set by hand, or
  /// files without one that took turns at a path. Then its file is named after the symbols too.
  func saveSymbols(of module: inout TracedModule, _ sites: FileSites) -> Bool {
    if sites.entries.isEmpty { return true }
    let hash = fnv1a(sites.symbols)
    let usual = module.symbolsName
    if let saved = savedSymbols[usual], saved != hash {
      module.symbolsName = "\(usual)-\(hexDigits(hash, width: 16))"
    }
    if savedSymbols[module.symbolsName] == hash { return true }
    let path = module.message.path
    let header = SymbolHeader(count: sites.entries.count, path: path).line
    do {
      guard try folder.saveSymbols(module.symbolsName, header + sites.symbols) else {
        warn(
          "\(path): symbols/\(module.symbolsName) exists already, with other names: the module is "
            + "left alone")
        return false
      }
      if savedSymbols.count >= Self.mostModulesSeen { savedSymbols = [:] }
      savedSymbols[module.symbolsName] = hash
      return true
    } catch {
      warn("\(error)")
      return false
    }
  }

  /// Counts the module's sites, again where it has been counted.
  func count(_ module: TracedModule) {
    if modulesSeen.count >= Self.mostModulesSeen {
      earlierModules = moduleTotals
      modulesSeen = [:]
    }
    modulesSeen["\(module.symbolsName) \(module.message.path)"] = ModuleTotals(
      sites: module.sites, armed: module.armed, unwanted: module.unwanted,
      skipped: module.skippedPlaces)
  }

  var moduleTotals: ModuleTotals {
    modulesSeen.values.reduce(into: earlierModules) { sum, module in
      sum.sites += module.sites
      sum.armed += module.armed
      sum.unwanted += module.unwanted
      sum.skipped += module.skipped
    }
  }
}

/// Call sites of the modules that were loaded, each file counted once.
public struct ModuleTotals: Equatable, Sendable {
  /// All call sites.
  public var sites = 0
  /// Those that call their stubs.
  public var armed = 0
  /// No rule selects them.
  public var unwanted = 0
  /// Places that looked like call sites and are none.
  public var skipped = 0
}

private func hostName() -> String {
  var name = [CChar](repeating: 0, count: 256)
  guard gethostname(&name, name.count - 1) == 0 else { return "" }
  return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
