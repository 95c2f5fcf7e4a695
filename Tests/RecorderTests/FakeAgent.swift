// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import CTestSupport
import Foundation
import TestSupport
import Testing

@testable import Recorder

/// An agent that sends exactly the messages that a test gives it.
final class FakeAgent {
  let socket: Int32
  var generation: UInt32 = 0

  init(_ server: RecordServer) throws {
    socket = cts_connect(server.socketPath)
    try #require(socket >= 0)
    #expect(fcntl(socket, F_SETFL, O_NONBLOCK) == 0)
  }

  deinit { close(socket) }

  func send(_ bytes: [UInt8]) { _ = nrc_send(socket, bytes, bytes.count, nil, 0) }

  func send<T>(_ message: T) { withUnsafeBytes(of: message) { send(Array($0)) } }

  static func hello(
    begin: Int = NREC_BEGIN_START, parent: Int32 = 1, time: UInt64 = 1000
  ) -> nrec_hello {
    var hello = nrec_hello()
    hello.message = UInt32(NREC_MESSAGE_HELLO)
    hello.version = UInt32(NREC_MESSAGE_VERSION)
    hello.process = getpid()
    hello.parent = parent
    hello.begin = UInt32(begin)
    hello.copied = begin == NREC_BEGIN_FORK ? parent : 0
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

  /// The recorder's answer and the descriptor that came with it; nil if there is no answer.
  func receive<T>(_ type: T.Type) throws -> (T, descriptor: Int32)? {
    var bytes = [UInt8](repeating: 0, count: MemoryLayout<T>.size + 1)
    var descriptors: [Int32] = [-1, -1]
    let got = cts_receive_descriptors(socket, &bytes, bytes.count, &descriptors, 2)
    if got <= 0 { return nil }
    try #require(got == MemoryLayout<T>.size)
    return (bytes.withUnsafeBytes { $0.loadUnaligned(as: T.self) }, descriptors[0])
  }

  /// Whether the recorder has closed the connection.
  var isClosed: Bool {
    var byte: UInt8 = 0
    let got = recv(socket, &byte, 1, 0)
    return got == 0 || (got < 0 && errno == ECONNRESET)
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
  func serve() { for _ in 0..<4 { server.loop.turn(milliseconds: 1) } }

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
  func join(
    begin: Int = NREC_BEGIN_START, parent: Int32 = 1, time: UInt64 = 1000
  ) throws -> FakeAgent {
    let agent = try FakeAgent(server)
    agent.send(FakeAgent.hello(begin: begin, parent: parent, time: time))
    serve()
    let (config, events) = try #require(try agent.receive(nrec_config.self))
    #expect(config.message == UInt32(NREC_MESSAGE_CONFIG))
    #expect(events >= 0)
    close(events)
    return agent
  }

  /// Sends a module and returns its plan.
  func load(
    _ agent: FakeAgent, _ path: String, buildID: [UInt8], generation: UInt32, time: UInt64 = 500
  ) throws -> (plan: nrec_plan_message, entries: [nrec_plan_entry]) {
    agent.send(FakeAgent.module(path, buildID: buildID, generation: generation, time: time))
    serve()
    let (plan, descriptor) = try #require(try agent.receive(nrec_plan_message.self))
    #expect(plan.message == UInt32(NREC_MESSAGE_PLAN))
    #expect(plan.generation == generation)
    #expect((descriptor >= 0) == (plan.count > 0))
    guard descriptor >= 0 else { return (plan, []) }
    let file = Descriptor(descriptor)
    let size = Int(plan.count) * MemoryLayout<nrec_plan_entry>.stride
    let read = file.read(at: 0, count: size)
    let bytes = try #require(read)
    // The file is sealed: the recorder cannot change the plan after the agent has checked it.
    #expect(pwrite(descriptor, [0], 1, 0) == -1)
    #expect(ftruncate(descriptor, 0) == -1)
    return (plan, bytes.withUnsafeBytes { Array($0.bindMemory(to: nrec_plan_entry.self)) })
  }
}
