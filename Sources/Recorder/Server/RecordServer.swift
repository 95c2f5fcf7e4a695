// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Glibc
import RecordingSchema

/// The recorder: answers the agents of traced processes with plans, and has the recording written.
///
/// It connects three others: `EventLoop` waits, `AgentConnections` keeps the processes and
/// reads their messages, `RecordingWriter` writes. What each message means is in
/// `AgentAnswers.swift`.
public final class RecordServer {
  /// What else is to be waited for goes here too.
  public let loop: EventLoop
  /// What is recorded.
  public let options: RecordOptions
  let connections: AgentConnections
  let writer: RecordingWriter
  let missing: MissingProcesses
  let notes: Notes
  let planner: Planner
  let source: SiteSource
  let clock: TraceClock
  /// The image that a process id named last.
  private(set) var latest: [Int32: TracedProcess] = [:]
  /// Of those, which have ended: their modules are kept for a while.
  private var ended = EndedProcesses()

  /// How often notes are read, at least: there is room for thousands.
  private static let notesNanoseconds: UInt64 = 1_000_000_000

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
    self.clock = clock
    planner = Planner(filter: options.filter)
    loop = try EventLoop()
    connections = try AgentConnections(loop: loop)
    writer = try RecordingWriter(
      folder: folder, command: command, options: options, clock: clock, loop: loop)
    let notes = try Notes()
    self.notes = notes
    missing = MissingProcesses(notes: notes) { [writer] in writer.add($0) }
    connections.delegate = self
    readNotesLater()
    loop.whenQuiet(nanoseconds: Self.quietNanoseconds) { [source] in
      if source.isUnprepared { source.prepare() }
    }
  }

  /// Makes what the first messages of an agent need: the Swift runtime makes a generic type, and
  /// looks for conformances, at its first use. To be called while the program is being loaded: it
  /// waits for no answer then, and for each answer later.
  func prepare() {
    latest.reserveCapacity(Self.usualCount)
    connections.prepare()
    writer.prepare()
    source.prepareTypes()
    TracedProcess.prepare()
  }

  /// The recording's directory.
  public var recordingPath: String { writer.folder.path }
  /// Where agents connect.
  public var socketPath: String { connections.folder.socketPath }
  /// Private to us; the server removes it with all files in it.
  public var socketFolder: String { connections.folder.path }
  /// Processes that are traced now, or may be about to connect.
  public var activeProcesses: Int { connections.activeProcesses }
  /// Those that are connected and alive.
  public var connectedProcesses: Int { connections.connectedProcesses }
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
    connections.waitForUnconnectedChildren(of: program)
  }

  /// Ends the recording: writes what is known of processes that still run, and closes session.json.
  public func finish(exitStatus: Int32?) {
    connections.closeAll()
    missing.finish(latest: latest)
    writer.finish(exitStatus: exitStatus)
    source.keep()
  }

  /// Nobody wakes us for a note.
  private func readNotesLater() {
    loop.after(nanoseconds: Self.notesNanoseconds) { [weak self] in
      guard let self else { return }
      missing.read(latest: latest)
      readNotesLater()
    }
  }

  /// A new process image, of the next incarnation of its process id.
  func makeProcess(_ hello: nrec_hello) -> TracedProcess {
    let incarnation = latest[hello.process].map { $0.incarnation &+ 1 } ?? 0
    let process = TracedProcess(
      hello: hello, incarnation: incarnation, program: linkTarget("/proc/\(hello.process)/exe"))
    latest[hello.process] = process
    return process
  }
}

// MARK: - What the connections tell

extension RecordServer: AgentConnectionsDelegate {
  func agent(_ connection: AgentConnection, sent message: AgentMessage) {
    switch message {
    case .hello(let hello): answerHello(hello, on: connection)
    case .module(let module): answerModule(module, on: connection)
    case .applied(let applied): handleApplied(applied, on: connection)
    case .gone(let gone): handleGone(gone, on: connection)
    case .inherited(let generations, let isLast):
      handleInherited(generations, isLast: isLast, on: connection)
    }
  }

  func agentDisconnected(_ process: TracedProcess) {
    missing.read(latest: latest)
    writeUnconfirmedModules(of: process)
  }

  func agentRefused(_ process: Int32, because reason: String) {
    missing.refuse(
      process, peer: process, program: linkTarget("/proc/\(process)/exe"), because: reason)
  }

  func agentEnded(_ process: TracedProcess) {
    writer.appendLastEvents(of: process)
    writeUnconfirmedModules(of: process)
    ended.add(process)
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
