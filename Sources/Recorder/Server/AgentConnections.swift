// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Glibc

/// What the connections report of the processes that are traced.
protocol AgentConnectionsDelegate: AnyObject {
  func agent(_ connection: AgentConnection, sent message: AgentMessage)
  /// Its connection is closed: no more messages of it will come, but it may still record.
  func agentDisconnected(_ process: TracedProcess)
  /// It has ended, or has become another program.
  func agentEnded(_ process: TracedProcess)
  /// A process that wants to be recorded is not.
  func agentRefused(_ process: Int32, because reason: String)
  /// What the user should know: one line.
  func warn(_ line: String)
}

/// The processes that are traced: those that are connected, those that are ending, and those that
/// were started with the agent and have not connected yet.
///
/// Nothing that a client sends makes the event loop wait. A client that breaks the protocol loses
/// its connection; its program runs on.
final class AgentConnections {
  weak var delegate: (any AgentConnectionsDelegate)?
  let folder: SocketFolder
  private let loop: EventLoop
  private var connections: [ObjectIdentifier: AgentConnection] = [:]
  /// By process id.
  private var exiting: [Int32: [ExitingProcess]] = [:]
  /// Process ids that have sent a HELLO.
  private var introduced: Set<Int32> = []
  /// Children that were waited for and sent no HELLO: they are not waited for a second time.
  private var waitedFor: Set<Int32> = []
  private let unconnected: UnconnectedChildren
  /// Nil while there is no descriptor to spare for another client.
  private var listening: EventLoop.Registration?

  private static let retryNanoseconds: UInt64 = 20_000_000
  private static let packetsInTurn = 16

  init(loop: EventLoop) throws {
    self.loop = loop
    folder = try SocketFolder()
    unconnected = UnconnectedChildren(socketPath: folder.socketPath)
    listen()
  }

  /// Makes what the first HELLO needs, before an agent waits for the answer.
  func prepare() { introduced.reserveCapacity(RecordServer.usualCount) }

  /// Processes that are traced now, or may be about to connect.
  var activeProcesses: Int { connections.count + exiting.count }

  /// Those that are connected and alive: a child holds its parent's connection too.
  var connectedProcesses: Int {
    let joined = connections.values.filter { $0.process != nil && kill($0.peer, 0) == 0 }
    return Set(joined.map(\.peer)).count
  }

  /// Notes that the connection has sent its HELLO and belongs to `process`.
  ///
  /// The image before it, of the same process id, has ended by an exec.
  func introduce(_ connection: AgentConnection, as process: TracedProcess) {
    for one in exiting[process.process] ?? [] { finish(one) }
    introduced.insert(process.process)
    connection.process = process
  }

  /// Closes the connection once its message has been handled, and says why.
  func drop(_ connection: AgentConnection, because reason: String) {
    delegate?.warn(
      "process \(connection.peer): its agent \(reason): its connection is closed; the program runs "
        + "on, and what it loads from now on is not traced")
    connection.isClosing = true
  }
}

// MARK: - Connecting

extension AgentConnections {
  private func listen() {
    guard listening == nil else { return }
    listening = loop.add(folder.listener.number) { [weak self] in self?.acceptAll() }
    if listening == nil { listenLater() }
  }

  private func listenLater() {
    loop.after(nanoseconds: Self.retryNanoseconds) { [weak self] in self?.listen() }
  }

  private func acceptAll() {
    while true {
      let socket = nrc_accept(folder.listener.number)
      if socket < 0 {
        let error = errnoNow()
        if error == EINTR || error == ECONNABORTED { continue }
        if error != EAGAIN { pauseListening() }
        return
      }
      accept(Descriptor(socket))
    }
  }

  /// To be called where no descriptor is left: for a moment, new clients wait in the socket's
  /// queue.
  private func pauseListening() {
    guard listening != nil else { return }
    loop.remove(listening)
    listening = nil
    listenLater()
  }

  private func accept(_ socket: consuming Descriptor) {
    var process: Int32 = 0
    var user: UInt32 = 0
    guard nrc_peer(socket.number, &process, &user) == 0 else { return }
    guard user == geteuid() else {
      delegate?.agentRefused(
        process, because: "it runs as user \(user), and the recorder as user \(geteuid())")
      return
    }
    let connection = AgentConnection(socket: socket, peer: process)
    connection.registration = loop.add(connection.socket.number) { [weak self] in
      self?.serve(connection)
    }
    // Closed at once where it cannot be waited for: its agent goes on without us.
    if connection.registration != nil { connections[ObjectIdentifier(connection)] = connection }
  }
}

// MARK: - Messages

extension AgentConnections {
  private func serve(_ connection: AgentConnection) {
    for _ in 0..<Self.packetsInTurn where !connection.isClosing {
      guard receive(connection) else { break }
    }
    guard connection.isClosing else { return }
    close(connection)
    // A forked child connects and then closes its parent's connection: both may have happened since
    // the loop looked at the listener.
    acceptAll()
  }

  /// Reads and handles one packet; false where there is none now.
  private func receive(_ connection: AgentConnection) -> Bool {
    let room = MemoryLayout<nrec_module_message>.size
    return withUnsafeTemporaryAllocation(byteCount: room, alignment: 8) { buffer in
      guard let start = buffer.baseAddress else { return false }
      let got = nrc_receive(connection.socket.number, start, room)
      let error = errnoNow()
      if got < 0, error == EAGAIN { return false }
      guard got > 0 else {
        // 0: the agent has closed the connection. ECONNRESET: it has done so before it read our
        // answer.
        if got < 0, error == EMSGSIZE {
          drop(connection, because: "sent a message that is too long")
        }
        connection.isClosing = true
        return false
      }
      handle(UnsafeRawBufferPointer(rebasing: buffer[..<got]), from: connection)
      return !connection.isClosing
    }
  }

  private func handle(_ bytes: UnsafeRawBufferPointer, from connection: AgentConnection) {
    guard let message = AgentMessage(bytes) else {
      return drop(connection, because: "sent \(bytes.count) bytes that are no message")
    }
    delegate?.agent(connection, sent: message)
  }
}

// MARK: - Ending

extension AgentConnections {
  private func close(_ connection: AgentConnection) {
    loop.remove(connection.registration)
    connections[ObjectIdentifier(connection)] = nil
    guard let traced = connection.process else { return }
    // An exec closes the connection too, and the new image sends nothing until it is loaded.
    let descriptor = Descriptor(nrc_process_descriptor(connection.peer))
    guard descriptor.number >= 0 else {
      delegate?.agentEnded(traced)
      return
    }
    delegate?.agentDisconnected(traced)
    waitForEnd(of: connection.peer, traced, descriptor)
  }

  /// Waits until the process has ended, or is not on the way to a HELLO any more.
  private func waitForEnd(
    of pid: Int32, _ traced: TracedProcess?, _ descriptor: consuming Descriptor
  ) {
    let process = ExitingProcess(pid: pid, traced: traced, descriptor: descriptor)
    let finish = { [weak self] () -> Void in self?.finish(process) }
    process.end = loop.add(process.descriptor.number, finish)
    exiting[pid, default: []].append(process)
    lookLater(at: process)
  }

  private func lookLater(at process: ExitingProcess) {
    process.look = loop.after(nanoseconds: StartProgress.lookNanoseconds) { [weak self] in
      guard let self else { return }
      let isOurs = process.traced != nil || unconnected.mayHaveAgent(process.pid)
      if isOurs, process.progress.mayBeStarting() {
        lookLater(at: process)
      } else {
        finish(process)
      }
    }
  }

  private func finish(_ process: ExitingProcess) {
    loop.remove(process.end)
    loop.remove(process.look)
    exiting[process.pid]?.removeAll { $0 === process }
    if exiting[process.pid]?.isEmpty == true { exiting[process.pid] = nil }
    if let traced = process.traced { delegate?.agentEnded(traced) }
  }

  /// To be called once the program has ended: waits for the processes that it or its children
  /// started and that have not connected yet. Returns whether any process is active now.
  func waitForUnconnectedChildren(of program: pid_t) -> Bool {
    for pid in unconnected.find(since: program)
    where !introduced.contains(pid) && waitedFor.insert(pid).inserted {
      let descriptor = Descriptor(nrc_process_descriptor(pid))
      if descriptor.number >= 0 { waitForEnd(of: pid, nil, descriptor) }
    }
    return activeProcesses > 0
  }

  /// Closes every connection and waits for no process: the recording ends.
  func closeAll() {
    for connection in connections.values {
      loop.remove(connection.registration)
      if let traced = connection.process { delegate?.agentEnded(traced) }
    }
    connections = [:]
    for process in exiting.values.joined() { finish(process) }
  }
}
