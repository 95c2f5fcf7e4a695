// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import CTestSupport
import Foundation
import TestSupport

@testable import Recorder

/// A recorder whose answers to an agent a test can change.
final class FakeRecorder: @unchecked Sendable {
  /// The answers to the agent. Each closure may change its answer before it is sent.
  struct Answers: Sendable {
    /// Changes the configuration and the descriptors (event file, memory file). False: no answer.
    var config: @Sendable (inout nrec_config, inout [Int32]) -> Bool = { _, _ in true }
    /// Changes the plan of a module that has sites. False: no answer.
    var plan: @Sendable (inout nrec_plan_message, inout [nrec_plan_entry]) -> Bool = { _, _ in
      true
    }
    /// Makes the plan's file from its bytes.
    var file: @Sendable ([UInt8]) -> Int32 = { bytes in nrc_memory_file(bytes, bytes.count) }
    /// Sends a plan of an older generation before each plan, as if it had come too late.
    var isPrecededByOlder = false
    /// Keeps the second agent in connect until the first agent's process has been dead for a while.
    var holdsSecond = false
  }

  let path: String
  private let listener: Descriptor
  private let answers: Answers
  private let lock = NSLock()
  private var heard: [nrec_applied] = []
  private var shown: [String] = []
  private var connections = 0
  private var outlasts = false
  /// A connection that fills the listener's queue, so that the second agent waits in connect.
  private var filler: Int32 = -1
  private var isOver = false
  private let ended = DispatchSemaphore(value: 0)

  /// `user`: the user who listens, if it is another one. The test then has to run as root.
  init(_ answers: Answers, user: uid_t? = nil) throws {
    let folder = try TemporaryFolder.shared.fresh("recorder")
    path = folder + "/s"
    if let user {
      for part in [TemporaryFolder.shared.path, folder] { chmod(part, 0o777) }
      seteuid(user)
    }
    listener = Descriptor(nrc_listen(path))
    if user != nil { seteuid(0) }
    guard listener.number >= 0 else { throw TestSupportError("\(path): cannot listen") }
    self.answers = answers
    Thread { [self] in
      serve()
      ended.signal()
    }.start()
  }

  /// The agent's APPLIED messages, one for each plan with sites.
  var applied: [nrec_applied] { lock.withLock { heard } }
  /// The paths of the modules that the agent has shown.
  var modules: [String] { lock.withLock { shown } }
  /// The event file of the process that connected last.
  var eventFile: String { path + "-events" }
  var connected: Int { lock.withLock { connections } }
  /// Whether the first agent's connection was still open after its process was dead.
  var firstOutlasts: Bool { lock.withLock { outlasts } }

  /// Ends the thread that serves. A test must call this before it releases the recorder.
  func stop() {
    lock.withLock { isOver = true }
    ended.wait()
  }

  private func serve() {
    var sockets: [Int32] = []
    while true {
      var polled = ([listener.number] + sockets).map { pollfd(fd: $0, events: 1, revents: 0) }
      // Ends only when no message is waiting: a process's last message is read after its end.
      guard poll(&polled, nfds_t(polled.count), 20) > 0 else {
        if lock.withLock({ isOver }) { break }
        continue
      }
      if polled[0].revents != 0, filler < 0 {
        sockets.append(nrc_accept(listener.number))
        lock.withLock { connections += 1 }
        if answers.holdsSecond, sockets.count == 1, listen(listener.number, 0) == 0 {
          filler = cts_connect(path)
        }
      }
      for one in polled.dropFirst() where one.revents != 0 && !answer(one.fd) {
        close(one.fd)
        sockets.removeAll { $0 == one.fd }
      }
    }
    for socket in sockets { close(socket) }
  }

  /// Answers one message; false when the connection has ended.
  private func answer(_ socket: Int32) -> Bool {
    var bytes = [UInt8](repeating: 0, count: MemoryLayout<nrec_module_message>.size)
    let got = nrc_receive(socket, &bytes, bytes.count)
    if got <= 0 { return false }
    let message = bytes.withUnsafeBytes {
      AgentMessage(UnsafeRawBufferPointer(rebasing: $0[..<got]))
    }
    switch message {
    case .hello: configure(socket)
    case .module(let module):
      lock.withLock { shown.append(module.path) }
      plan(socket, module)
    case .applied(let applied):
      lock.withLock { heard.append(applied) }
      if filler >= 0 { hold(behind: socket) }
    default: break
    }
    return true
  }

  private func configure(_ socket: Int32) {
    var config = RecordOptions().config(incarnation: 0, clock: TraceClock())
    var files = [memfd("events"), nrc_shared_memory()]
    let made = files
    if answers.config(&config, &files) {
      withUnsafeBytes(of: config) {
        _ = nrc_send(socket, $0.baseAddress, $0.count, files, Int32(files.count))
      }
    }
    for file in Set(made + files) where file >= 0 { close(file) }
  }

  /// Waits until the first process is dead and half a second more, then for the second agent.
  private func hold(behind first: Int32) {
    var process: Int32 = 0
    var user: UInt32 = 0
    _ = nrc_peer(first, &process, &user)
    let life = Descriptor(nrc_process_descriptor(process))
    var end = pollfd(fd: life.number, events: Int16(POLLIN), revents: 0)
    var connection = pollfd(fd: first, events: 0, revents: 0)
    let isThere = poll(&end, 1, 10_000) == 1 && poll(&connection, 1, 500) == 0
    lock.withLock { outlasts = isThere }
    close(nrc_accept(listener.number))
    close(filler)
    filler = -1
    var queue = pollfd(fd: listener.number, events: Int16(POLLIN), revents: 0)
    poll(&queue, 1, 10_000)
  }

  private func memfd(_ name: String) -> Int32 {
    let path = self.path + "-" + name
    return open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
  }

  private func plan(_ socket: Int32, _ module: AgentMessage.Module) {
    var message = nrec_plan_message()
    message.message = UInt32(NREC_MESSAGE_PLAN)
    message.generation = module.generation
    var entries: [nrec_plan_entry] = []
    if case .sites(let sites) = SiteSource(cache: nil).sites(
      path: module.path, buildID: module.buildID)
    {
      let planner = Planner(filter: SiteFilter())
      entries = planner.plan(sites, module: module.path, firstFunction: 0).entries
    }
    message.count = UInt32(entries.count)
    if answers.isPrecededByOlder {
      var older = message
      older.generation -= 1
      older.count = 0
      withUnsafeBytes(of: older) {
        _ = nrc_send(socket, $0.baseAddress, $0.count, nil, 0)
      }
    }
    if entries.isEmpty || answers.plan(&message, &entries) {
      let bytes = entries.withUnsafeBytes { Array($0) }
      let file = entries.isEmpty ? -1 : answers.file(bytes)
      withUnsafeBytes(of: message) {
        _ = nrc_send(socket, $0.baseAddress, $0.count, [file], file < 0 ? 0 : 1)
      }
      if file >= 0 { close(file) }
    }
  }
}
