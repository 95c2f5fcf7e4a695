// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Glibc

/// What the connections report.
protocol AgentConnectionsDelegate: AnyObject {
  /// A fresh image wants to join. Nil: it does not.
  func answer(_ hello: nrec_hello, from peer: Int32) -> (config: nrec_config, files: [Int32])?
  /// A process that wants to be recorded is not.
  func agentRefused(_ process: Int32, because reason: String)
  /// What the user should know: one line.
  func warn(_ line: String)
}

/// The socket over which a fresh image joins: a HELLO, its answer, and the connection is closed.
///
/// Nothing that a client sends makes the event loop wait. A client that breaks the protocol loses
/// its connection; its program runs on.
final class AgentConnections {
  private final class Connection {
    /// The process that connected, as the kernel reports it.
    let peer: Int32
    let socket: Descriptor
    /// Of its socket in the event loop.
    var registration: EventLoop.Registration?

    init(_ socket: consuming Descriptor, _ peer: Int32) {
      self.socket = socket
      self.peer = peer
    }
  }

  weak var delegate: (any AgentConnectionsDelegate)?
  let folder: SocketFolder
  private let loop: EventLoop
  private var connections: [ObjectIdentifier: Connection] = [:]
  /// Nil while there is no descriptor to spare for another client.
  private var listening: EventLoop.Registration?

  private static let retryNanoseconds: UInt64 = 20_000_000

  init(loop: EventLoop) throws {
    self.loop = loop
    folder = try SocketFolder()
    listen()
  }

  /// How many have connected and sent no HELLO yet.
  var count: Int { connections.count }

  func closeAll() {
    for connection in connections.values { loop.remove(connection.registration) }
    connections = [:]
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
    begin(Connection(socket, process))
  }

  /// A connection that a visit has made; `process` has its other end.
  func adopt(_ socket: Int32, from process: Int32) {
    begin(Connection(Descriptor(socket), process))
  }

  private func begin(_ connection: Connection) {
    connection.registration = loop.add(connection.socket.number) { [weak self] in
      self?.serve(connection)
    }
    // Closed at once where it cannot be waited for: its agent goes on without us.
    if connection.registration != nil { connections[ObjectIdentifier(connection)] = connection }
  }

  /// Reads the HELLO and answers it.
  private func serve(_ connection: Connection) {
    var hello = nrec_hello()
    let size = MemoryLayout<nrec_hello>.size
    let got = withUnsafeMutableBytes(of: &hello) {
      nrc_receive(connection.socket.number, $0.baseAddress, size)
    }
    let error = errnoNow()
    if got < 0, error == EAGAIN { return }
    loop.remove(connection.registration)
    connections[ObjectIdentifier(connection)] = nil
    if got == 0 || (got < 0 && error != EMSGSIZE) { return }
    guard got == size, hello.message == UInt32(NREC_MESSAGE_HELLO) else {
      let bytes = got < 0 ? "more than \(size)" : "\(got)"
      return refuse(connection, "sent \(bytes) bytes that are no HELLO")
    }
    guard hello.version == UInt32(NREC_MESSAGE_VERSION) else {
      return refuse(
        connection, "uses message version \(hello.version), expected \(NREC_MESSAGE_VERSION)")
    }
    if hello.error != 0 {
      let reason = "it cannot use the recorder's memory: \(systemError(hello.error))"
      delegate?.agentRefused(connection.peer, because: reason)
      return
    }
    guard let answer = delegate?.answer(hello, from: connection.peer) else { return }
    _ = withUnsafeBytes(of: answer.config) { bytes in
      nrc_send(
        connection.socket.number, bytes.baseAddress, bytes.count, answer.files,
        Int32(answer.files.count))
    }
  }

  private func refuse(_ connection: Connection, _ reason: String) {
    delegate?.warn(
      "process \(connection.peer): its agent \(reason): its connection is closed; the program runs "
        + "on, and is not traced")
  }
}
