// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import CTestSupport
import Foundation
import TestSupport
import Testing

@testable import Recorder

/// An agent that says exactly what a test gives it, of a process of its own.
final class FakeAgent {
  /// Its process.
  let process: pid_t
  private let control: Int32
  private(set) var config: nrec_config?
  private(set) var arena: UnsafeMutablePointer<cts_arena>?
  private(set) var place: UInt32 = 0
  private(set) var image: UInt32 = 0
  /// Whose copy it is, and whose mapping it uses.
  private var parent: FakeAgent?
  private var chunks: UInt32 = 0
  private var isOver = false

  /// Sends `hello` over the recorder's socket.
  init(_ server: RecordServer, hello: [UInt8] = FakeAgent.bytes(FakeAgent.hello())) throws {
    var control: Int32 = -1
    process = cts_join(server.socketPath, hello, hello.count, &control)
    self.control = control
    try #require(process > 0)
  }

  /// A forked child's, which claims a place. `isUnseen`: the recorder is told with the next claim.
  init(copying parent: FakeAgent, time: UInt64 = 1000, isUnseen: Bool = false) throws {
    var control: Int32 = -1
    process = cts_join("/no/such/socket", [UInt8](), 0, &control)
    self.control = control
    let shared = try #require(parent.arena)
    arena = shared
    self.parent = parent
    let claimed = cts_arena_claim(shared, parent.image, process, time, isUnseen, &image)
    try #require(claimed >= 0)
    place = UInt32(claimed)
  }

  deinit {
    end()
    if parent == nil, let arena { cts_arena_unmap(arena) }
  }

  /// Its process ends.
  func end() {
    if isOver { return }
    isOver = true
    cts_leave(process, control)
  }

  /// Reads the recorder's answer to HELLO; nil: there is none.
  func receiveConfig() throws -> nrec_config? {
    var answer = [UInt8](repeating: 0, count: MemoryLayout<nrec_config>.size + 1)
    var files: [Int32] = [-1, -1]
    let got = cts_joined(control, &answer, answer.count, &files)
    guard got > 0 else { return nil }
    try #require(got == MemoryLayout<nrec_config>.size)
    let config = answer.withUnsafeBytes { $0.loadUnaligned(as: nrec_config.self) }
    self.config = config
    place = config.place
    image = config.image
    if files[0] >= 0 { arena = cts_arena_map(files[0]) }
    for file in files where file >= 0 { close(file) }
    return config
  }

  /// The header of its event file, in the arena.
  var header: UnsafeMutablePointer<nrec_file_header> { cts_arena_header(arena, place) }

  /// Begins the header, as the agent does.
  func begin() {
    header.pointee.version = UInt32(NREC_VERSION)
    header.pointee.magic = UInt64(NREC_FILE_MAGIC)
  }

  static func bytes<T>(_ message: T) -> [UInt8] { withUnsafeBytes(of: message) { Array($0) } }

  /// Sends one message.
  func send(_ message: [UInt8]) {
    let room = (MemoryLayout<nrec_mail>.size + message.count + 7) & ~7
    var bytes = [UInt8](repeating: 0, count: room)
    withUnsafeBytes(of: UInt32(message.count)) { bytes.replaceSubrange(0..<4, with: $0) }
    bytes.replaceSubrange(8..<(8 + message.count), with: message)
    sendChunk(bytes)
  }

  /// Hands over a chunk of messages with these contents, `number` instead of the next.
  func sendChunk(_ bytes: [UInt8], number: UInt32? = nil) {
    #expect(cts_arena_send(arena, place, number ?? chunks, bytes, bytes.count))
    chunks += 1
  }

  func send<T>(_ message: T) { send(Self.bytes(message)) }

  static func hello(parent: Int32 = 1, time: UInt64 = 1000) -> nrec_hello {
    var hello = nrec_hello()
    hello.message = UInt32(NREC_MESSAGE_HELLO)
    hello.version = UInt32(NREC_MESSAGE_VERSION)
    hello.process = getpid()
    hello.parent = parent
    hello.time = time
    return hello
  }

  static func module(
    _ path: String, buildID: [UInt8], generation: UInt32, time: UInt64 = 500, bias: UInt64 = 0x1000
  ) -> [UInt8] {
    var message = nrec_module_message()
    message.message = UInt32(NREC_MESSAGE_MODULE)
    message.generation = generation
    message.load_bias = bias
    message.text_start = 0x2000
    message.text_end = 0x3000
    message.time = time
    message.build_id_length = UInt32(buildID.count)
    message.path_length = UInt32(path.utf8.count)
    withUnsafeMutableBytes(of: &message.build_id) { $0.copyBytes(from: buildID) }
    withUnsafeMutableBytes(of: &message.path) { $0.copyBytes(from: path.utf8) }
    let start = MemoryLayout<nrec_module_message>.offset(of: \.path) ?? 0
    return withUnsafeBytes(of: message) { Array($0[..<(start + path.utf8.count)]) }
  }

  func applied(_ generation: UInt32, armed: UInt32, status: Int32 = 0, error: Int32 = 0) {
    var message = nrec_applied()
    message.message = UInt32(NREC_MESSAGE_APPLIED)
    message.generation = generation
    message.armed = armed
    message.status = status
    message.error = error
    if status != 0 { message.offset = 0x1a30 }
    send(message)
  }

  func gone(_ generation: UInt32) {
    send(nrec_gone(message: UInt32(NREC_MESSAGE_GONE), generation: generation, time: 900))
  }

  func inherited(_ generations: [UInt32]) {
    var message = nrec_inherited()
    message.message = UInt32(NREC_MESSAGE_INHERITED)
    message.count = UInt32(generations.count)
    withUnsafeMutableBytes(of: &message.generations) { to in
      generations.withUnsafeBytes { to.copyMemory(from: $0) }
    }
    let start = MemoryLayout<nrec_inherited>.offset(of: \.generations) ?? 0
    send(withUnsafeBytes(of: message) { Array($0[..<(start + 4 * generations.count)]) })
  }

  /// The recorder's newest answer; nil: there is none.
  func receivePlan() -> (nrec_plan_message, [nrec_plan_entry])? {
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let got = cts_arena_answer(arena, place, &bytes, bytes.count)
    let head = MemoryLayout<nrec_plan_message>.size
    guard got >= head else { return nil }
    let plan = bytes.withUnsafeBytes { $0.loadUnaligned(as: nrec_plan_message.self) }
    let entries = bytes[head..<got].withUnsafeBytes {
      Array($0.bindMemory(to: nrec_plan_entry.self))
    }
    return (plan, entries)
  }
}

/// A recorder's server, with a recording of its own.
final class ServerBench {
  let path: String
  let server: RecordServer

  init(_ options: RecordOptions = RecordOptions()) throws {
    path = try TemporaryFolder.shared.fresh("server") + "/nopscope.data"
    server = try RecordServer(
      folder: RecordingFolder(path: path), command: ["./prog", "a\"b"], options: options,
      source: SiteSource(cache: nil), clock: TraceClock())
  }

  /// Serves until no message is waiting.
  func serve() {
    for _ in 0..<4 {
      server.arena.look()
      server.loop.turn(milliseconds: 1)
    }
  }

  func session() throws -> [String: Any] {
    try jsonObject(Data(contentsOf: URL(fileURLWithPath: path + "/session.json")))
  }

  /// Those that joined, as the file `processes` has them.
  func processes() throws -> [[String: Any]] {
    try lines("processes").compactMap { $0["process"] as? [String: Any] }
  }

  func lines(_ name: String) throws -> [[String: Any]] {
    try String(contentsOfFile: path + "/" + name, encoding: .utf8).split(separator: "\n").map {
      try jsonObject(Data($0.utf8))
    }
  }

  /// An agent that has sent HELLO and has received its CONFIG.
  func join(time: UInt64 = 1000) throws -> FakeAgent {
    let agent = try FakeAgent(
      server, hello: FakeAgent.bytes(FakeAgent.hello(time: time)))
    while server.latest[agent.process] == nil { server.loop.turn(milliseconds: 10) }
    let config = try #require(try agent.receiveConfig())
    #expect(config.message == UInt32(NREC_MESSAGE_CONFIG))
    agent.begin()
    return agent
  }

  /// A forked child's, which has claimed a place.
  func fork(_ parent: FakeAgent, time: UInt64 = 1000) throws -> FakeAgent {
    let child = try FakeAgent(copying: parent, time: time)
    serve()
    try #require(server.latest[child.process] != nil)
    return child
  }

  /// Whether nothing more is read from the agent.
  func hasRefused(_ agent: FakeAgent) -> Bool { server.image(agent.image)?.isRefused == true }

  /// Sends a module and returns its plan.
  func load(
    _ agent: FakeAgent, _ path: String, buildID: [UInt8], generation: UInt32, time: UInt64 = 500
  ) throws -> (plan: nrec_plan_message, entries: [nrec_plan_entry]) {
    agent.send(FakeAgent.module(path, buildID: buildID, generation: generation, time: time))
    serve()
    let (plan, entries) = try #require(agent.receivePlan())
    #expect(plan.message == UInt32(NREC_MESSAGE_PLAN))
    #expect(plan.generation == generation)
    #expect(entries.count == Int(plan.count))
    return (plan, entries)
  }
}
