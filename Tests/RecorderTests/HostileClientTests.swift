// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import ELFImage
import Foundation
import TestSupport
import Testing

@testable import Recorder

/// Clients that break the protocol are not heard any more; others are.
@Suite struct HostileClientTests {
  static let fixture = Fixture(.gcc, ["-O2", "-pg"])

  private static func bytes<T>(_ message: T) -> [UInt8] {
    withUnsafeBytes(of: message) { Array($0) }
  }

  private static func hello(_ change: (inout nrec_hello) -> Void) -> [UInt8] {
    var hello = FakeAgent.hello()
    change(&hello)
    return bytes(hello)
  }

  /// A module message with one 32-bit word changed.
  private static func module(_ path: String = "/x", word: Int, _ value: UInt32) -> [UInt8] {
    var message = module(path)
    withUnsafeBytes(of: value.littleEndian) { message.replaceSubrange(word..<(word + 4), with: $0) }
    return message
  }

  private static func module(_ path: String) -> [UInt8] {
    FakeAgent.module(path, buildID: [1], generation: 1)
  }

  private static let lengths =
    MemoryLayout<nrec_module_message>.offset(of: \nrec_module_message.build_id_length) ?? 0

  /// What is sent before HELLO.
  static let first: [(name: String, packet: [UInt8])] = [
    ("one byte", [1]), ("three bytes", [1, 0, 0]), ("no such message", [9, 0, 0, 0]),
    ("an answer", bytes(nrec_config())), ("zeros", [UInt8](repeating: 0, count: 100)),
    ("half a HELLO", Array(bytes(FakeAgent.hello()).dropLast())),
    ("a HELLO and more", bytes(FakeAgent.hello()) + [0]),
    ("another version", hello { $0.version = UInt32(NREC_MESSAGE_VERSION) + 1 }),
    ("a module", module("/x")),
    ("applied", [5] + [UInt8](repeating: 0, count: MemoryLayout<nrec_applied>.size - 1)),
    ("gone", [6] + [UInt8](repeating: 0, count: MemoryLayout<nrec_gone>.size - 1)),
    ("inherited", [7, 0, 0, 0, 0, 0, 0, 0]),
    ("too long", [UInt8](repeating: 3, count: 8000)),
  ]

  @Test("the first packet is a whole HELLO of our version", arguments: first.map(\.name))
  func beginning(name: String) throws {
    let packet = try #require(Self.first.first { $0.name == name }).packet
    let bench = try ServerBench()
    let good = try bench.join()
    let bad = try FakeAgent(bench.server, hello: packet)
    while bench.server.warnings.isEmpty { bench.server.loop.turn(milliseconds: 10) }
    #expect(try bad.receiveConfig() == nil)
    #expect(!bench.hasRefused(good))
    #expect(bench.server.warnings.count == 1)
    #expect(bench.server.tracedProcesses == 1)
    _ = try bench.join()
  }

  /// What is sent after HELLO.
  static let second: [(name: String, packet: [UInt8])] = [
    ("HELLO again", bytes(FakeAgent.hello())),
    ("a module cut short", Array(module("/x").dropLast())),
    ("a module without its path", Array(module("/x").dropLast(2))),
    ("a module's head", Array(module("/x").prefix(20))),
    ("a path with NUL", module("/a\0b")),
    ("generation 0", module(word: 4, 0)),
    ("inherited by no copy", [7, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]),
    ("more inherited than sent", [7, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0]),
    ("a build-id of 65 bytes", module(word: lengths, 65)),
    ("a build-id of 4 GB", module(word: lengths, .max)),
    ("a path of 4 GB", module(word: lengths + 4, .max)),
    ("a path of 4001 bytes", module(word: lengths + 4, 4001)),
    ("a longer path than was sent", module(word: lengths + 4, 3)),
    ("a shorter path than was sent", module(word: lengths + 4, 1)),
    ("text that ends before it starts", module(word: 20, .max)),
    ("applied to nothing", [5, 0, 0, 0, 1] + [UInt8](repeating: 0, count: 35)),
    ("gone without coming", bytes(nrec_gone(message: 6, generation: 4, time: 0))),
  ]

  @Test("each message is a whole one that makes sense", arguments: second.map(\.name))
  func later(name: String) throws {
    let packet = try #require(Self.second.first { $0.name == name }).packet
    let bench = try ServerBench()
    let good = try bench.join()
    let bad = try bench.join()
    bad.send(packet)
    bench.serve()
    #expect(bench.hasRefused(bad), "\(packet.count) bytes")
    #expect(!bench.hasRefused(good))
    #expect(bench.server.warnings.count == 1)
  }

  @Test("messages that do not fit their chunk are none")
  func cutMessages() throws {
    for bytes: [UInt8] in [
      [255, 255, 255, 255, 0, 0, 0, 0], [9, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0],
    ] {
      let bench = try ServerBench()
      let bad = try bench.join()
      bad.sendChunk(bytes)
      bench.serve()
      #expect(bench.hasRefused(bad))
    }
  }

  @Test("chunks of messages are read in the order in which they were numbered")
  func order() throws {
    let bench = try ServerBench()
    let agent = try bench.join()
    func chunk(_ generation: UInt32) -> [UInt8] {
      let message = FakeAgent.module("/no/such/\(generation)", buildID: [], generation: generation)
      let length = withUnsafeBytes(of: UInt64(message.count)) { Array($0) }
      return length + message + [UInt8](repeating: 0, count: -message.count & 7)
    }
    agent.sendChunk(chunk(2), number: 1)
    bench.serve()
    #expect(try bench.lines("\(agent.process)-0.modules").isEmpty)
    agent.sendChunk(chunk(1), number: 0)
    bench.serve()
    let loads = try bench.lines("\(agent.process)-0.modules").compactMap {
      $0["load"] as? [String: Any]
    }
    #expect(loads.compactMap { $0["generation"] as? Int } == [1, 2])
  }

  @Test("more sites than there are cannot have been armed, and no generation comes twice")
  func nonsense() throws {
    let path = try Self.fixture.build()
    let id = try #require(try ELFImage(path: path).buildID)
    for isCount in [true, false] {
      let bench = try ServerBench()
      let bad = try bench.join()
      let plan = try bench.load(bad, path, buildID: id, generation: 5).plan
      if isCount {
        bad.applied(5, armed: plan.count + 1)
      } else {
        bad.applied(5, armed: plan.count)
        bad.send(FakeAgent.module(path, buildID: id, generation: 5))
      }
      bench.serve()
      #expect(bench.hasRefused(bad))
    }
  }

  @Test("random messages silence their senders and nobody else")
  func random() throws {
    var generator = SeededGenerator(seed: 42)
    let bench = try ServerBench()
    let good = try bench.join()
    for _ in 0..<100 {
      let bad = try bench.join()
      for _ in 0..<3 {
        var packet = Self.module("/usr/lib/\(UInt8.random(in: 0...9, using: &generator))")
        packet[0] = UInt8.random(in: 1...6, using: &generator)
        for _ in 0..<UInt8.random(in: 0...4, using: &generator) {
          packet[Int.random(in: 4..<packet.count, using: &generator)] =
            UInt8.random(in: 0...255, using: &generator)
        }
        packet = Array(packet.prefix(Int.random(in: 1...packet.count, using: &generator)))
        if Bool.random(using: &generator) { bad.send(packet) } else { bad.sendChunk(packet) }
      }
      bench.server.loop.turn(milliseconds: 0)
      bad.end()
    }
    bench.serve()
    #expect(!bench.hasRefused(good))
    let path = try Self.fixture.build()
    let id = try #require(try ELFImage(path: path).buildID)
    #expect(try bench.load(good, path, buildID: id, generation: 1).plan.count > 0)
  }

  @Test("a client that does not read its answers does not hold up the others")
  func deaf() throws {
    let bench = try ServerBench()
    let deaf = try bench.join()
    for generation in 1..<1000 {
      deaf.send(FakeAgent.module("/no/such", buildID: [], generation: UInt32(generation)))
      bench.server.loop.turn(milliseconds: 0)
    }
    _ = try bench.join()
  }

  @Test("a relative path is the process's folder's")
  func relative() throws {
    let bench = try ServerBench()
    let agent = try bench.join()
    _ = try bench.load(agent, "no/such.so", buildID: [], generation: 1)
    let load = try bench.lines("\(agent.process)-0.modules").first?["load"] as? [String: Any]
    let folder = FileManager.default.currentDirectoryPath
    #expect(load?["path"] as? String == folder + "/no/such.so")
  }

  /// A copy of the fixture whose sections and size are as given; the rest of it is a hole.
  private static func sparse(_ size: Int, _ strings: Int) throws -> String {
    let path = try TemporaryFolder.shared.fresh("sparse") + "/lib.so"
    var bytes = try Data(contentsOf: URL(fileURLWithPath: fixture.build()))
    func number(_ at: Int, _ count: Int) -> Int {
      bytes[at..<(at + count)].reversed().reduce(0) { $0 << 8 | Int($1) }
    }
    let table = number(0x28, 8)
    for index in 0..<number(0x3c, 2) where number(table + 64 * index + 4, 4) == 3 {
      let field = table + 64 * index + 0x20
      withUnsafeBytes(of: strings.littleEndian) {
        bytes.replaceSubrange(field..<(field + 8), with: $0)
      }
    }
    try bytes.write(to: URL(fileURLWithPath: path))
    try #require(truncate(path, size) == 0)
    return path
  }

  @Test(
    "a module of any size is refused before it is read, and others are answered",
    arguments: [
      (60 << 30, 59 << 30, "64424509440 bytes long, expected at most 4294967296"),
      (3 << 30, 2 << 30, "3221225472 bytes long, of which "),
    ])
  func sparse(size: Int, strings: Int, reason: String) throws {
    let path = try Self.sparse(size, strings)
    let bench = try ServerBench()
    let agent = try bench.join()
    let before = processorSeconds()
    let plan = try bench.load(agent, path, buildID: [1], generation: 1).plan
    // To read so many zeroes takes seconds.
    #expect(processorSeconds() - before < 0.5)
    #expect(plan.count == 0)
    #expect(bench.server.warnings.count == 1)
    #expect(bench.server.warnings.first?.contains(reason) == true, "\(bench.server.warnings)")
    let other = try Self.fixture.build()
    let id = try #require(try ELFImage(path: other).buildID)
    #expect(try bench.load(agent, other, buildID: id, generation: 2).plan.count > 0)
  }

  private func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  @Test("a client that loads modules without end is not heard any more")
  func endlessModules() throws {
    let bench = try ServerBench()
    let agent = try bench.join()
    let process = try #require(bench.server.latest[agent.process])
    let message = try #require(
      Self.module("/x").withUnsafeBytes { bytes in AgentMessage(bytes) })
    guard case .module(let module) = message else { throw CancellationError() }
    for generation in 1...UInt32(RecordServer.mostModules) {
      process.modules[generation] = TracedModule(message: module, firstFunction: 0)
    }
    process.lastGeneration = UInt32(RecordServer.mostModules)
    agent.send(FakeAgent.module("/x", buildID: [1], generation: process.lastGeneration + 1))
    bench.serve()
    #expect(bench.hasRefused(agent))
    #expect(process.modules.count == RecordServer.mostModules)
    #expect(bench.server.warnings.first?.contains("more than 65536 modules at once") == true)
  }
}
