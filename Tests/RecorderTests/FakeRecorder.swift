// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import CTestSupport
import Filters
import Foundation
import TestSupport

@testable import Recorder

/// A recorder whose answers to an agent a test can change.
final class FakeRecorder: @unchecked Sendable {
  /// The answers to the agent. Each closure may change its answer before it is sent.
  struct Answers: Sendable {
    /// Changes the configuration and the descriptors (arena). False: no answer.
    var config: @Sendable (inout nrec_config, inout [Int32]) -> Bool = { _, _ in true }
    /// Changes the plan of a module that has sites. False: no answer.
    var plan: @Sendable (inout nrec_plan_message, inout [nrec_plan_entry]) -> Bool = { _, _ in
      true
    }
    /// Sends a plan of an older generation before each plan, as if it had come too late.
    var isPrecededByOlder = false
  }

  let path: String
  private let listener: Descriptor
  private let answers: Answers
  private let lock = NSLock()
  private let arena: OpaquePointer
  private var places: [(number: Int32, file: Int32)] = []
  private var heard: [nrec_applied] = []
  private var shown: [String] = []
  private var connections = 0
  private var errors: [Int32] = []
  private var copies = 0
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
    guard let arena = nrc_arena_make() else { throw TestSupportError("no arena") }
    self.arena = arena
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
  /// Why agents could not use the answer.
  var refusals: [Int32] { lock.withLock { errors } }
  /// How many forked children have claimed a place.
  var claimed: Int { lock.withLock { copies } }

  /// Ends the thread that serves, and completes the event files. A test must call this before it
  /// releases the recorder.
  func stop() {
    lock.withLock { isOver = true }
    ended.wait()
    for place in places {
      _ = nrc_arena_leave(arena, place.number, 1e9)
      close(place.file)
    }
    places = []
    nrc_arena_free(arena)
  }

  private func serve() {
    var sockets: [Int32] = []
    while true {
      let all = [listener.number, nrc_arena_events(arena)] + sockets
      var polled = all.map { pollfd(fd: $0, events: 1, revents: 0) }
      // Ends only when no message is waiting: a process's last message is read after its end.
      guard poll(&polled, nfds_t(polled.count), 20) > 0 else {
        if lock.withLock({ isOver }) { break }
        nrc_arena_look(arena)
        continue
      }
      if polled[0].revents != 0 {
        sockets.append(nrc_accept(listener.number))
      }
      while let event = nrc_arena_next(arena) {
        handle(event.pointee)
        nrc_arena_done(event)
      }
      for one in polled.dropFirst(2) where one.revents != 0 {
        configure(one.fd)
        close(one.fd)
        sockets.removeAll { $0 == one.fd }
      }
    }
    for socket in sockets { close(socket) }
  }

  private func makeFile() -> nrc_arena_image {
    let file = open(eventFile, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    return nrc_arena_image(
      events: file, process: 1, parent: 0, incarnation: 0, start_realtime_nanoseconds: 0)
  }

  private func configure(_ socket: Int32) {
    var hello = nrec_hello()
    let size = MemoryLayout<nrec_hello>.size
    guard nrc_receive(socket, &hello, size) == size else { return }
    lock.withLock { if hello.error == 0 { connections += 1 } else { errors.append(hello.error) } }
    if hello.error != 0 { return }
    var config = RecordOptions().config(incarnation: 0, clock: TraceClock())
    var about = makeFile()
    let place = nrc_arena_join(arena, &about, &config.image)
    config.place = UInt32(place)
    places.append((place, about.events))
    var files = [nrc_arena_file(arena)]
    if answers.config(&config, &files) {
      withUnsafeBytes(of: config) {
        _ = nrc_send(socket, $0.baseAddress, $0.count, files, Int32(files.count))
      }
    } else {
      // The agent waits as long as the socket is open.
    }
    for file in files where file >= 0 && file != nrc_arena_file(arena) { close(file) }
  }

  private func handle(_ event: nrc_arena_event) {
    if event.is_claim {
      lock.withLock { copies += 1 }
      var about = makeFile()
      _ = nrc_arena_adopt(arena, event.place, &about)
      places.append((event.place, about.events))
      return
    }
    for message in Arena.messages(UnsafeRawBufferPointer(start: event.bytes, count: event.size)) {
      switch message {
      case .module(let module):
        lock.withLock { shown.append(module.path) }
        plan(event.place, module)
      case .applied(let applied): lock.withLock { heard.append(applied) }
      default: break
      }
    }
  }

  private func plan(_ place: Int32, _ module: AgentMessage.Module) {
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
      _ = nrc_arena_answer(arena, place, &older, nil, 0)
    }
    if entries.isEmpty || answers.plan(&message, &entries) {
      _ = entries.withUnsafeBytes {
        nrc_arena_answer(arena, place, &message, $0.baseAddress, $0.count)
      }
    }
  }
}
