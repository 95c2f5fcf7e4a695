// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Glibc
import RecordingSchema

/// The recorder: answers the agents of traced processes with plans, and has the recording written.
///
/// It connects others: `EventLoop` waits, images join through `AgentConnections`, their messages come
/// through the `Arena`, `RunningProcesses` knows who has ended, `RecordingWriter` writes. What each
/// message means is in `AgentAnswers.swift`.
public final class RecordServer {
  /// What else is to be waited for goes here too.
  public let loop: EventLoop
  /// What is recorded.
  public let options: RecordOptions
  let connections: AgentConnections
  let running: RunningProcesses
  let writer: RecordingWriter
  let arena: Arena
  let missing: MissingProcesses
  let notes: Notes
  let planner: Planner
  let ruleUse: RuleUse
  let arguments: ArgumentReader
  let gate: RecordingGate
  private(set) lazy var snapshots = Snapshots(server: self)
  /// Called after each snapshot.
  public var whenSnapshot: ((Snapshot) -> Void)?
  let source: SiteSource
  /// What is done when the recording has ended.
  var sourceLines: SourceLineSaver
  let clock: TraceClock
  private var switches: SwitchRecorder?
  /// The image that a process id named last.
  private(set) var latest: [Int32: TracedProcess] = [:]
  /// By number of the image.
  private var images: [UInt32: TracedProcess] = [:]
  /// Those that have not ended, by place.
  private var places: [Int: TracedProcess] = [:]
  /// Those that have ended, and whose last messages are not read yet.
  private var ending: [TracedProcess] = []
  private var isEnding = false
  /// Of those, which have ended: their modules are kept for a while.
  private var ended = EndedProcesses()

  /// How often notes are read, at least: there is room for a thousand.
  private static let notesNanoseconds: UInt64 = 1_000_000_000
  /// And after some were found.
  private static let busyNotesNanoseconds: UInt64 = 20_000_000

  /// Processes, and modules of one, for which room is made beforehand.
  static let usualCount = 16
  /// `source` will put into its cache what it has found.
  var isKeepPlanned = false
  /// How long nothing may be ready before what can wait is done: Capstone is opened for a file that
  /// may come, and the cache is written.
  static let quietNanoseconds: UInt64 = 20_000_000

  /// Listens for agents and writes the first session.json to `folder`; throws where either fails.
  public init(
    folder: RecordingFolder, command: [String], options: RecordOptions, source: SiteSource,
    clock: TraceClock
  ) throws {
    self.options = options
    self.source = source
    sourceLines = SourceLineSaver(debugFiles: source.debugFiles)
    self.clock = clock
    var triggers = options.triggers
    triggers.timed = options.snapshots.functions
    ruleUse = RuleUse(options)
    planner = Planner(filter: options.filter, triggers: triggers, arguments: options.arguments)
    arguments = ArgumentReader(debugFiles: source.debugFiles)
    loop = try EventLoop()
    connections = try AgentConnections(loop: loop)
    writer = try RecordingWriter(
      folder: folder, command: command, options: options, clock: clock, loop: loop)
    running = RunningProcesses(loop: loop, socketPath: connections.folder.socketPath)
    arena = try Arena(clock: clock)
    gate = RecordingGate(arena: arena, loop: loop, triggers: options.triggers)
    let notes = try Notes()
    self.notes = notes
    missing = MissingProcesses(notes: notes) { [writer] in writer.add($0) }
    connections.delegate = self
    _ = snapshots
    running.whenEnded = { [weak self] in self?.end($0) }
    _ = loop.add(arena.wakes) { [weak self] in self?.readEvents() }
    readNotesLater()
    loop.whenQuiet(nanoseconds: Self.quietNanoseconds) { [source] in
      if source.isUnprepared { source.prepare() }
    }
  }

  /// Makes the recording at `output` and its recorder, in a process that may have few descriptors and
  /// short files. Where that fails, nothing is left of the recording.
  static func make(
    at output: String, command: [String], options: RecordOptions, source: SiteSource,
    clock: TraceClock
  ) throws -> (RecordServer, RecordingFolder) {
    nrc_ignore_file_size_signal()
    nrc_raise_descriptor_limit()
    let folder = try RecordingFolder(path: output)
    do {
      let server = try RecordServer(
        folder: folder, command: command, options: options, source: source, clock: clock)
      return (server, folder)
    } catch {
      folder.discard()
      throw error
    }
  }

  /// Makes what the first messages of an agent need: the Swift runtime makes a generic type, and
  /// looks for conformances, at its first use. To be called while the program is being loaded: it
  /// waits for no answer then, and for each answer later.
  func prepare() {
    latest.reserveCapacity(Self.usualCount)
    running.prepare()
    writer.prepare()
    source.prepareTypes()
    TracedProcess.prepare()
  }

  /// To be called by the thread that starts the program, before it does. Only calls with times need to
  /// know when their threads were off the CPU.
  func recordSwitches() {
    guard options.recordsSwitches, options.tracer == .functionGraph else { return }
    do {
      switches = try SwitchRecorder(writer.folder, loop)
    } catch {
      writer.noteNoSwitches(error.description)
    }
  }

  /// Says in the recording why it does not have them.
  func omitSwitches(because reason: String) {
    if options.recordsSwitches, options.tracer == .functionGraph { writer.noteNoSwitches(reason) }
  }

  /// The recording's directory.
  public var recordingPath: String { writer.folder.path }
  /// Where agents connect.
  public var socketPath: String { connections.folder.socketPath }
  /// Private to us; the server removes it with all files in it.
  public var socketFolder: String { connections.folder.path }
  /// Processes that are traced now, or may be about to connect.
  public var activeProcesses: Int { running.count + connections.count }
  /// Those that are connected and alive.
  public var connectedProcesses: Int { running.tracedCount }
  /// The path of the first one's program.
  public var tracedProgram: String? { latest.values.min { $0.image < $1.image }?.program }
  /// Processes that were ever traced.
  public var tracedProcesses: Int { writer.images.count }
  /// Processes that the program started and that are not recorded, or not wholly.
  public var missingProcesses: Int { writer.missingCount }
  /// What the user should know, one line each, the same line once.
  public var warnings: [String] { writer.warnings }
  /// Sums of all modules that were loaded until now.
  public var moduleTotals: ModuleTotals { writer.moduleTotals }
  /// Sums of what the headers of all event files say.
  public func eventTotals() -> EventTotals { writer.eventTotals() }

  /// To be called once the program has ended: waits for the processes that it or its children
  /// started and that have not connected yet. Returns whether any process is active now.
  public func waitForUnconnectedChildren(of program: pid_t) -> Bool {
    readEvents()
    running.waitForUnconnectedChildren(of: program)
    return activeProcesses > 0
  }

  /// To be called once the program has ended, before others are waited for.
  public func beginToEnd() {
    arena.look()
    readEvents()
    running.beginToEnd()
  }

  /// Ends the recording: writes what is known of processes that still run, and closes session.json.
  public func finish(exitStatus: Int32?) {
    connections.closeAll()
    arena.look()
    readEvents()
    running.finishAll()
    for line in options.triggers.warnings(gate.state) { warn(line) }
    snapshots.warnOfMissed()
    arena.close()
    switches?.finish()
    missing.finish(latest: latest)
    ruleUse.warnings(threadRulesMet: arena.threadRulesMet).forEach(writer.warn)
    writer.finish(exitStatus: exitStatus)
    writer.saveSourceLines(sourceLines)
    source.keep()
  }

  /// Nobody wakes us for a note. Where there were some, there may soon be more than have room.
  private func readNotesLater(isBusy: Bool = false) {
    let delay = isBusy ? Self.busyNotesNanoseconds : Self.notesNanoseconds
    loop.after(nanoseconds: delay) { [weak self] in
      guard let self else { return }
      let count = missing.read(latest: latest)
      readNotesLater(isBusy: count > 0)
    }
  }

  /// The incarnation of the next image of a process id.
  func nextIncarnation(of process: Int32) -> UInt32 {
    latest[process].map { $0.incarnation &+ 1 } ?? 0
  }

  /// The image of that number.
  func image(_ number: UInt32) -> TracedProcess? { images[number] }

  /// Those that have not ended, by their numbers.
  var livingProcesses: [TracedProcess] { places.values.sorted { $0.image < $1.image } }

  /// The one that has a place in the arena.
  func process(at place: Int) -> TracedProcess? { places[place] }

  /// The linked name of a function, as the recording has it; nil: it is not known.
  func functionName(_ number: UInt32, of process: TracedProcess) -> String? {
    for module in process.modules.values
    where number >= module.firstFunction && number - module.firstFunction < UInt32(module.sites) {
      let index = Int(number - module.firstFunction)
      return writer.folder.symbolName(in: module.symbolsName, at: index)
    }
    return nil
  }

  /// Events that were lost while rings were copied.
  public var eventsLostBySnapshots: UInt64 { snapshots.lostEvents }

  /// A signal asks for a snapshot: takes one, unless there are as many as there may be.
  func takeSnapshotForSignal() {
    arena.look()
    readEvents()
    snapshots.takeForSignal()
  }

  /// An image has a place in the arena. `isRunning`: it is not known to have ended.
  func begin(_ process: TracedProcess, at place: Arena.Place, isRunning: Bool = true) {
    process.place = place
    latest[process.process] = process
    images[place.image] = process
    places[place.number] = process
    writer.add(process)
    missing.settle(process)
    if isRunning { running.begin(process) } else { end(process) }
  }

  /// A process that runs on is recorded no longer.
  func leave(_ process: TracedProcess) {
    arena.look()
    readEvents()
    running.leave(process)
  }

  /// Reads what agents have said, and does what they ask for.
  func readEvents() {
    readMessages()
    gate.look()
    if !arena.isHeld { return }
    // What was said before the request: a snapshot has the modules that were loaded by then.
    arena.look()
    readMessages()
    snapshots.look()
  }

  private func readMessages() {
    while let event = arena.next() {
      switch event {
      case .claim(let claim): handleClaim(claim)
      case .messages(let place, let messages):
        if let process = places[place] { read(messages, from: process) }
      }
    }
  }

  private func read(_ messages: [AgentMessage?], from process: TracedProcess) {
    if let parent = process.copied, parent.copied != nil {
      parent.postponed.append((process, messages))
      return
    }
    for message in messages where !process.isRefused { handle(message, from: process) }
  }

  /// A process has named its modules: those of its copies can be known.
  func readPostponed(by parent: TracedProcess) {
    let postponed = parent.postponed
    parent.postponed = []
    for (process, messages) in postponed { read(messages, from: process) }
  }

  /// An image has ended. Its last messages are read first; that may end others.
  private func end(_ process: TracedProcess) {
    ending.append(process)
    if isEnding { return }
    isEnding = true
    while !ending.isEmpty {
      let next = ending.removeFirst()
      arena.look()
      readEvents()
      missing.read(latest: latest)
      if next.copied != nil { inheritAll(next) }
      if let place = next.place {
        next.place = nil
        places[place.number] = nil
        writer.noteEnd(of: next, error: arena.leave(place))
      }
      writeUnconfirmedModules(of: next)
      ended.add(next)
    }
    isEnding = false
  }
}

// MARK: - What the connections tell

extension RecordServer: AgentConnectionsDelegate {
  func answer(_ hello: nrec_hello, from peer: Int32) -> (config: nrec_config, files: [Int32])? {
    answerHello(hello, from: peer)
  }

  func agentRefused(_ process: Int32, because reason: String) {
    missing.refuse(
      process, peer: process, program: linkTarget("/proc/\(process)/exe"), because: reason)
  }

  func warn(_ line: String) { writer.warn(line) }

  /// Writes the lines of modules whose plans the process did not confirm and no longer can: it is
  /// not known whether any of their sites was armed.
  private func writeUnconfirmedModules(of process: TracedProcess) {
    for generation in process.modules.keys.sorted() {
      guard var module = process.modules[generation], module.isPending else { continue }
      writeUnconfirmed(&module, of: process)
      process.modules[generation] = module
    }
  }

  func writeUnconfirmed(_ module: inout TracedModule, of process: TracedProcess) {
    module.isPending = false
    module.armed = 0
    module.status = "not confirmed: the process did not report whether it applied its plan"
    writer.writeLoads([module], of: process)
  }
}
