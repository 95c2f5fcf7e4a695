// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Glibc
import RecordingSchema

/// Why the recorder cannot listen: one line.
public struct ServerError: Error, CustomStringConvertible, Sendable {
  /// The message.
  public var description: String
}

/// The recorder: answers the agents of traced processes and writes the recording's text files.
///
/// One thread, one poll(2). Nothing a client sends makes it wait, and a client that breaks the
/// protocol loses its connection, no more: the agent goes on without us.
public final class RecordServer {
  /// Where agents connect.
  public let socketPath: String
  /// Private to us; what else goes there goes with it.
  public let socketFolder: String
  private let listener: Descriptor
  let folder: RecordingFolder
  /// What is recorded.
  public let options: RecordOptions
  let planner: Planner
  let source: SiteSource
  var session: Session
  let clock: TraceClock
  private var clients: [Client] = []
  private var leavers: [Leaver] = []
  /// Those that were waited for without having said a word.
  private var newcomers: Set<Int32> = []
  private var incarnations: [Int32: UInt32] = [:]
  private var sessionWritten: UInt64 = 0
  private var isSessionDirty = false
  private var isShortOfDescriptors = false
  /// What the user should know, one line each, the same line once.
  public private(set) var warnings: [String] = []
  /// The process that a number named last.
  private(set) var latest: [Int32: TracedProcess] = [:]
  /// Names in symbols/ that are written, with a hash of what they hold.
  var savedSymbols: [String: UInt64] = [:]
  /// Each file once, however many processes loaded it.
  private var modulesSeen: [String: ModuleTotals] = [:]

  /// A process that has let go its connection: it ends, or it becomes another program.
  ///
  /// Or it has closed what it did not know, and records on into its memory file. Or it was started
  /// with our agent and has said nothing yet: then it is not traced.
  private struct Leaver {
    var process: Int32
    var traced: TracedProcess?
    var descriptor: Int32
    var deadline: UInt64
  }

  /// Sites of modules that came, each file counted once.
  public struct ModuleTotals: Equatable, Sendable {
    /// All call sites.
    public var sites = 0
    /// Those that call their stubs.
    public var armed = 0
    /// No rule wants them.
    public var unwanted = 0
    /// Places that looked like call sites and are none.
    public var skipped = 0
  }

  /// How long an exec may take until the new image says HELLO.
  private static let execNanoseconds: UInt64 = 1_000_000_000
  private static let sessionNanoseconds: UInt64 = 50_000_000
  private static let packetsInTurn = 16

  /// Listens for the agents of `command`, whose recording goes to `folder`. Throws where it cannot.
  public init(
    folder: RecordingFolder, command: [String], options: RecordOptions, source: SiteSource,
    clock: TraceClock
  ) throws {
    self.folder = folder
    self.options = options
    self.source = source
    planner = Planner(filter: options.filter)
    self.clock = clock
    session = Session()
    session.command = command
    session.tracerName = options.tracer.name
    session.options = options.session
    session.startRealtimeNanoseconds = clock.startRealtimeNanoseconds
    session.host = Self.host
    socketFolder = try Self.makeSocketFolder()
    socketPath = socketFolder + "/s"
    let number = nrc_listen(socketPath)
    let error = errnoNow()
    listener = Descriptor(number)
    guard number >= 0 else {
      rmdir(socketFolder)
      throw ServerError(description: "\(socketPath): cannot listen: \(systemError(error))")
    }
    try replaceSession()
  }

  deinit {
    RecordingFolder.empty(socketFolder)
    rmdir(socketFolder)
    for leaver in leavers { close(leaver.descriptor) }
  }

  /// A folder that only we may enter, with a path short enough for a socket's address.
  private static func makeSocketFolder() throws -> String {
    var parents = ["/tmp"]
    if let own = getenv("TMPDIR").map({ String(cString: $0) }), own.hasPrefix("/"),
      own.utf8.count + 32 < nrc_longest_socket_path(), isSafeParent(own)
    {
      parents.insert(own, at: 0)
    }
    var error: Int32 = 0
    for parent in parents {
      var template = Array((parent + "/nopscope-XXXXXX").utf8CString)
      if mkdtemp(&template) != nil {
        return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
      }
      error = errnoNow()
    }
    throw ServerError(
      description: "\(parents[0]): cannot make a folder for the agent's socket: "
        + systemError(error))
  }

  /// Whether nobody else can put another folder in the place of one that we make in it.
  static func isSafeParent(_ path: String) -> Bool {
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return false }
    guard status.st_uid == geteuid() || status.st_uid == 0 else { return false }
    return status.st_mode & 0o022 == 0 || status.st_mode & S_ISVTX != 0
  }

  func warn(_ line: String) {
    if warnings.count < 100, !warnings.contains(line) { warnings.append(line) }
  }
}

// MARK: - A turn of the loop

extension RecordServer {
  /// Processes that are traced now, or about to say so.
  public var activeProcesses: Int { clients.count + leavers.count }
  /// Those that are connected and alive: a child holds its parent's connection too.
  public var connectedProcesses: Int {
    Set(clients.filter { $0.process != nil && kill($0.peer, 0) == 0 }.map(\.peer)).count
  }
  /// Processes that were ever traced.
  public var tracedProcesses: Int { session.processes.count }

  /// Waits for clients and for `others`, and serves what the clients say.
  ///
  /// Returns the positions in `others` of those that are readable. -1 as `milliseconds`: no limit.
  public func turn(others: [Int32], milliseconds: Int32) -> [Int] {
    var polled: [pollfd] = others.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    let listening = isShortOfDescriptors ? -1 : listener.number
    polled.append(pollfd(fd: listening, events: Int16(POLLIN), revents: 0))
    for client in clients {
      polled.append(pollfd(fd: client.socket.number, events: Int16(POLLIN), revents: 0))
    }
    for leaver in leavers {
      polled.append(pollfd(fd: leaver.descriptor, events: Int16(POLLIN), revents: 0))
    }
    let limit = limit(milliseconds)
    // Who waits comes first, then the cache.
    var count = source.hasUnkept ? poll(&polled, nfds_t(polled.count), 0) : 0
    if count == 0 {
      source.keep()
      count = poll(&polled, nfds_t(polled.count), limit)
    }
    isShortOfDescriptors = false
    if count > 0 {
      let rest = polled[(others.count + 1)...]
      let hasLeft = serve(rest.prefix(clients.count).map(\.revents))
      see(rest.suffix(leavers.count))
      // A forked child connects and then closes its parent's: both since the look at the listener.
      if polled[others.count].revents != 0 || hasLeft { acceptAll() }
    }
    forgetSlowLeavers()
    writeSession(isDue: false)
    if count == 0, limit > 0, source.isUnprepared { source.prepare() }
    return others.indices.filter { count > 0 && polled[$0].revents != 0 }
  }

  private func limit(_ milliseconds: Int32) -> Int32 {
    var limit = milliseconds
    if isShortOfDescriptors || isSessionDirty || !leavers.isEmpty || source.isUnprepared {
      limit = limit < 0 ? 20 : min(limit, 20)
    }
    return limit
  }

  private func acceptAll() {
    while true {
      let socket = nrc_accept(listener.number)
      if socket < 0 {
        let error = errnoNow()
        if error == EINTR || error == ECONNABORTED { continue }
        // Clients wait in the queue until others have left.
        isShortOfDescriptors = error != EAGAIN
        return
      }
      var process: Int32 = 0
      var user: UInt32 = 0
      let client = Client(socket)
      guard nrc_peer(socket, &process, &user) == 0, user == geteuid() else {
        warn("a process of another user (\(user)) was turned away")
        continue
      }
      client.peer = process
      clients.append(client)
    }
  }

  /// Whether one has left.
  private func serve(_ events: [Int16]) -> Bool {
    var hasLeft = false
    for (client, event) in zip(clients, events) where event != 0 {
      for _ in 0..<Self.packetsInTurn where !client.hasLeft {
        guard receive(client) else { break }
      }
      hasLeft = hasLeft || client.hasLeft
    }
    guard hasLeft else { return false }
    for client in clients where client.hasLeft { see(off: client) }
    clients.removeAll { $0.hasLeft }
    return true
  }

  /// One packet; false where there is none now.
  private func receive(_ client: Client) -> Bool {
    let room = MemoryLayout<nrec_module_message>.size
    return withUnsafeTemporaryAllocation(byteCount: room, alignment: 8) { buffer in
      guard let start = buffer.baseAddress else { return false }
      let got = nrc_receive(client.socket.number, start, room)
      let error = errnoNow()
      if got < 0, error == EAGAIN { return false }
      guard got > 0 else {
        // 0 is the end, and so is ECONNRESET: it left before it read our answer.
        if got < 0, error == EMSGSIZE { complain(client, "sent more than a message holds") }
        client.hasLeft = true
        return false
      }
      handle(UnsafeRawBufferPointer(rebasing: buffer[..<got]), from: client)
      return !client.hasLeft
    }
  }

  private func handle(_ bytes: UnsafeRawBufferPointer, from client: Client) {
    guard let message = AgentMessage(bytes) else {
      return drop(client, "sent \(bytes.count) bytes that are no message")
    }
    switch message {
    case .hello(let hello): greet(client, hello)
    case .module(let module): plan(client, module)
    case .applied(let applied): note(client, applied)
    case .gone(let gone): end(client, gone)
    }
  }
}

// MARK: - Coming and going

extension RecordServer {
  func complain(_ client: Client, _ what: String) {
    warn("process \(client.peer): \(what): its connection is closed, it goes on untold")
  }

  func drop(_ client: Client, _ what: String) {
    complain(client, what)
    client.hasLeft = true
  }

  private func see(off client: Client) {
    // Before an exec the connection closes too, and the new image is silent until it is loaded.
    let descriptor = nrc_process_descriptor(client.peer)
    guard descriptor >= 0, let traced = client.process else {
      if descriptor >= 0 { close(descriptor) }
      if let process = client.process { settle(process) }
      return
    }
    settleModules(traced)
    waitFor(client.peer, traced, descriptor)
  }

  private func waitFor(_ process: Int32, _ traced: TracedProcess?, _ descriptor: Int32) {
    let deadline = nrc_monotonic_nanoseconds() &+ Self.execNanoseconds
    leavers.append(
      Leaver(process: process, traced: traced, descriptor: descriptor, deadline: deadline))
  }

  /// Once the program has ended: waits for the processes that it or its children started and that
  /// have not said so yet, for each the time of an exec. Whether anybody is active now.
  public func awaitNewcomers(of program: pid_t) -> Bool {
    for process in Newcomers.find(socketPath: socketPath, since: program)
    where latest[process] == nil && newcomers.insert(process).inserted {
      let descriptor = nrc_process_descriptor(process)
      if descriptor >= 0 { waitFor(process, nil, descriptor) }
    }
    return activeProcesses > 0
  }

  private func see(_ polled: ArraySlice<pollfd>) {
    let ended = Set(polled.filter { $0.revents != 0 }.map(\.fd))
    if !ended.isEmpty { leave { ended.contains($0.descriptor) } }
  }

  private func forgetSlowLeavers() {
    if leavers.isEmpty { return }
    let now = nrc_monotonic_nanoseconds()
    leave { $0.deadline < now }
  }

  private func leave(_ isGone: (Leaver) -> Bool) {
    for leaver in leavers where isGone(leaver) {
      if let traced = leaver.traced { settle(traced) }
      close(leaver.descriptor)
    }
    leavers.removeAll(where: isGone)
  }

  func join(_ hello: nrec_hello) -> TracedProcess {
    leave { $0.process == hello.process }
    let incarnation = incarnations[hello.process] ?? 0
    incarnations[hello.process] = incarnation + 1
    let process = TracedProcess(
      hello: hello, incarnation: incarnation, program: Self.program(of: hello.process))
    session.processes.append(process.session)
    latest[hello.process] = process
    isSessionDirty = true
    return process
  }

  private static func program(of process: Int32) -> String {
    linkTarget("/proc/\(process)/exe")
  }
}

// MARK: - Sums

extension RecordServer {
  func count(_ module: TracedModule) {
    modulesSeen["\(module.symbolsName) \(module.message.path)"] = ModuleTotals(
      sites: module.sites, armed: module.armed, unwanted: module.unwanted,
      skipped: module.skippedPlaces)
  }

  /// Of all modules that came until now.
  public var totals: ModuleTotals {
    modulesSeen.values.reduce(into: ModuleTotals()) { sum, module in
      sum.sites += module.sites
      sum.armed += module.armed
      sum.unwanted += module.unwanted
      sum.skipped += module.skipped
    }
  }
}

// MARK: - session.json

extension RecordServer {
  /// At once while processes are few; with many, some times a second: the file holds them all.
  private func writeSession(isDue: Bool) {
    guard isSessionDirty || isDue else { return }
    let now = nrc_monotonic_nanoseconds()
    guard isDue || session.processes.count < 16 || now &- sessionWritten > Self.sessionNanoseconds
    else { return }
    do {
      try replaceSession()
    } catch {
      warn("\(error)")
    }
    isSessionDirty = false
  }

  private func replaceSession() throws {
    session.ticksPerSecond = clock.ticksPerSecond()
    try folder.replace(RecordingFormat.sessionName, RecordingJSON.encode(session) + [0x0a])
    sessionWritten = nrc_monotonic_nanoseconds()
  }

  private static var host: String {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, name.count - 1) == 0 else { return "" }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// The end: what is still open is settled, session.json gets its last words.
  public func finish(exitStatus: Int32?) {
    for client in clients { if let process = client.process { settle(process) } }
    clients.removeAll()
    for case let traced? in leavers.map(\.traced) { settle(traced) }
    session.hasEnded = true
    session.exitStatus = exitStatus.map(Int.init)
    writeSession(isDue: true)
    source.keep()
  }
}

/// One connection.
final class Client {
  let socket: Descriptor
  /// Who connected, by the kernel.
  var peer: Int32 = 0
  /// Set by its HELLO.
  var process: TracedProcess?
  var hasLeft = false

  init(_ socket: Int32) { self.socket = Descriptor(socket) }
}
