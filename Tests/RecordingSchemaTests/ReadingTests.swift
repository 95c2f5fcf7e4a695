// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingSchema
import TestSupport
import Testing
import Units

/// Documents that this version did not write: with their keys in any order, of an earlier version,
/// of a later one, damaged.
@Suite struct ReadingTests {
  /// As the version before this one wrote them.
  static let oldSession = #"""
    {"schema":"nopscope.recording/1","version":2,"command":["./prog","a\"b"],\#
    "tracer":"function_graph","options":{"filter":["parse_*"],"notrace":[],"graph":[],\#
    "maximumDepth":7,"thresholdNanoseconds":0,"threads":["worker*"],"overwriteBytes":null},\#
    "startRealtimeNanoseconds":1700000000000000000,"ticksPerSecond":2100000000,"timeShift":1,\#
    "host":"name","ended":true,"exitStatus":3,"processes":[{"pid":4711,"incarnation":1,\#
    "parent":4700,"begin":"fork","program":"/bin/pr\u007fog","events":"4711-1.events",\#
    "modules":"4711-1.modules"}]}

    """#
  static let oldLoad = #"""
    {"load":{"generation":2,"path":"/lib/libfoo.so","buildID":null,"loadBias":140000000000000,\#
    "textStart":140000000004096,"textEnd":140000000065536,"time":123456,"firstFunction":40,\#
    "sites":4,"armed":3,"unwanted":1,"skipped":3,"skippedReasons":[{"reason":"a reason",\#
    "count":3}],"status":"ok","plan":"3au","symbols":"path-0011"}}
    """#
  static let oldUnload = #"{"unload":{"generation":2,"time":234567}}"#

  static var expectedSession: Session {
    var session = Session()
    session.version = 2
    session.command = ["./prog", "a\"b"]
    session.tracerName = "function_graph"
    session.options.filter = ["parse_*"]
    session.options.notrace = []
    session.options.graph = []
    session.options.threads = ["worker*"]
    session.options.maximumDepth = 7
    session.options.thresholdNanoseconds = 0
    session.startRealtimeNanoseconds = 1_700_000_000_000_000_000
    session.ticksPerSecond = 2_100_000_000
    session.host = "name"
    session.hasEnded = true
    session.exitStatus = 3
    session.processes = [
      Session.Process(
        image: ImageName(pid: 4711, incarnation: 1), parent: 4700, program: "/bin/pr\u{7f}og",
        begin: .fork)
    ]
    return session
  }

  static var expectedLoad: ModuleLoad {
    var load = ModuleLoad(generation: 2, path: "/lib/libfoo.so")
    load.loadBias = 140_000_000_000_000
    load.textStart = 140_000_000_004_096
    load.textEnd = 140_000_000_065_536
    load.time = 123456
    load.firstFunction = 40
    load.sites = 4
    load.armed = 3
    load.unwanted = 1
    load.skipped = 3
    load.skippedReasons = [SkippedReason(reason: "a reason", count: 3)]
    load.status = "ok"
    load.plan = "3au"
    load.symbols = "path-0011"
    return load
  }

  @Test("documents of the version before are read")
  func old() {
    let session = RecordingJSON.decode(Session.self, from: Self.oldSession.utf8)
    #expect(session == Self.expectedSession)
    #expect(session?.tracer == .functionGraph)
    #expect(RecordingFormat.isSession(Array(Self.oldSession.utf8)))
    #expect(
      RecordingJSON.decode(ModuleLine.self, from: Self.oldLoad.utf8) == .load(Self.expectedLoad))
    #expect(
      RecordingJSON.decode(ModuleLine.self, from: Self.oldUnload.utf8)
        == .unload(ModuleUnload(generation: 2, time: 234567)))
  }

  @Test("nothing depends on the order of keys", arguments: 0..<20 as Range<UInt64>)
  func order(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    func shuffled(_ text: String) throws -> [UInt8] {
      Array(shuffle(try JSONSerialization.jsonObject(with: Data(text.utf8)), &generator).utf8)
    }
    let session = try shuffled(Self.oldSession)
    #expect(RecordingJSON.decode(Session.self, from: session) == Self.expectedSession)
    #expect(RecordingFormat.isSession(session))
    let load = try shuffled(Self.oldLoad)
    #expect(RecordingJSON.decode(ModuleLine.self, from: load) == .load(Self.expectedLoad))
    let unload = try shuffled(Self.oldUnload)
    #expect(
      RecordingJSON.decode(ModuleLine.self, from: unload)
        == .unload(ModuleUnload(generation: 2, time: 234567)))
  }

  /// The same document with every object's keys in another order.
  private func shuffle(_ value: Any, _ generator: inout SeededGenerator) -> String {
    if let object = value as? [String: Any] {
      let members = object.keys.sorted().shuffled(using: &generator).map { key in
        "\"\(key)\" : " + shuffle(object[key] ?? NSNull(), &generator)
      }
      return "{" + members.joined(separator: " , ") + "}"
    }
    if let list = value as? [Any] {
      return "[" + list.map { shuffle($0, &generator) }.joined(separator: ",") + "]"
    }
    let data = try? JSONSerialization.data(withJSONObject: value, options: .fragmentsAllowed)
    return String(decoding: data ?? Data(), as: UTF8.self)
  }

  @Test("what an early version did not write is not there, and the rest is")
  func early() throws {
    let session = try #require(
      RecordingJSON.decode(Session.self, from: #"{"command":["x"],"unknown":{"a":[1]}}"#.utf8))
    #expect(session.command == ["x"])
    #expect(session.schema == nil && session.tracer == nil && session.exitStatus == nil)
    #expect(session.options == Session.Options() && session.options.filter == nil)
    #expect(!session.hasEnded && session.processes.isEmpty)
    let line = RecordingJSON.decode(
      ModuleLine.self, from: #"{"load":{"path":"/x","generation":1}}"#.utf8)
    #expect(line == .load(ModuleLoad(generation: 1, path: "/x")))
    #expect(RecordingJSON.decode(ModuleLine.self, from: #"{"later":{}}"#.utf8) == .other)
  }

  @Test("negative numbers are the upper half of addresses, and no counts")
  func negative() {
    let text = """
      {"load":{"generation":1,"path":"/x","loadBias":-4096,"textEnd":18446744073709551615,\
      "time":-1,"sites":-5,"armed":18446744073709551615}}
      """
    var load = ModuleLoad(generation: 1, path: "/x")
    load.loadBias = LoadBias(.max - 4095)
    load.textEnd = .max
    load.armed = .max
    #expect(RecordingJSON.decode(ModuleLine.self, from: text.utf8) == .load(load))
  }

  @Test(
    "what is of another type is no document",
    arguments: [
      #"{"load":{"path":"/x"}}"#, #"{"load":{"generation":1}}"#, #"{"load":7}"#,
      #"{"load":{"generation":1,"path":"/x","sites":"4"}}"#,
      #"{"load":{"generation":1,"path":"/x","sites":1e30}}"#,
      #"{"load":{"generation":1,"path":"/x","plan":4}}"#, #"{"unload":{"generation":1}}"#,
      #"{"unload":{"time":1}}"#, "", "[]", "{", "null", "\u{0}",
    ])
  func otherTypes(text: String) {
    #expect(RecordingJSON.decode(ModuleLine.self, from: text.utf8) == nil)
  }

  @Test("a host or a version that is none does not lose the rest")
  func unneeded() throws {
    let text = #"{"host":{"name":"x"},"version":"2","timeShift":[],"command":["x"]}"#
    let session = try #require(RecordingJSON.decode(Session.self, from: text.utf8))
    #expect(session.command == ["x"])
    #expect(session.host == nil && session.version == nil && session.timeShift == nil)
  }

  @Test(
    "a session is known by its schema, wherever that stands",
    arguments: [
      (#"{"schema":"nopscope.recording/1"}"#, true), (#"{"schema":"nopscope.recording/9"}"#, true),
      (#" { "a" : [{"schema":"x"}] , "schema" : "nopscope.recording/1" } "#, true),
      ("{\"schema\":\"nopscope.recording/1\"}\n\0\0\0", true),
      (#"{"schema":"nopscope.report/1"}"#, false),
      (#"{"a":{"schema":"nopscope.recording/1"}}"#, false),
      (#"{"schema":"nopscope.recording/1"#, false), (#""schema":"nopscope.recording/1""#, false),
      (#"{"schema":["nopscope.recording/1"]}"#, false), ("", false), ("\0\0", false),
    ])
  func sessions(text: String, isSession: Bool) {
    #expect(RecordingFormat.isSession(Array(text.utf8)) == isSession)
  }

  @Test("a session.json longer than any that is read is none")
  func endless() {
    let start = Array(#"{"schema":"nopscope.recording/1"}"#.utf8)
    let room = RecordingFormat.longestSession - start.count
    // Not in the expectation, which would print them.
    let longest = RecordingFormat.isSession(start + Array(repeating: 0x20, count: room))
    let longer = RecordingFormat.isSession(start + Array(repeating: 0x20, count: room + 1))
    #expect(longest && !longer)
  }
}
