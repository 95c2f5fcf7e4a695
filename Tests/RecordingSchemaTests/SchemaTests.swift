// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingSchema
import TestSupport
import Testing
import Units

/// What is written is what is read, whatever it says.
@Suite struct SchemaTests {
  /// Texts that a program can choose: its arguments, its paths, its symbols.
  static let hostileTexts = [
    "", "plain", "a\"b\\c/d", "\u{0}\u{1}\u{1f}\u{7f}\u{80}", "line\nline\r\n\ttab",
    "\u{1b}[2J", "\u{2028}\u{fffd}\u{10ffff}é\u{301}", "{\"schema\":1}", "</script>",
    String(repeating: "x", count: 5000), String(decoding: [0xff, 0x2f, 0xc3], as: UTF8.self),
  ]

  private func roundTrip<Value: Codable & Equatable>(_ value: Value) throws {
    let bytes = try RecordingJSON.encode(value)
    #expect(!bytes.contains(UInt8(ascii: "\n")), "one line")
    #expect(RecordingJSON.decode(Value.self, from: bytes) == value)
    // Another reader of JSON agrees that it is some.
    _ = try JSONSerialization.jsonObject(with: Data(bytes))
  }

  @Test("a session is read as it was written", arguments: hostileTexts)
  func session(text: String) throws {
    var session = Session()
    try roundTrip(session)
    session.command = [text, text]
    session.tracerName = text
    session.options.filter = [text]
    session.options.notrace = []
    session.options.threads = [text]
    session.options.maximumDepth = .max
    session.options.overwriteBytes = UInt64.max
    session.startRealtimeNanoseconds = .max
    session.ticksPerSecond = 1
    session.host = text
    session.hasEnded = true
    session.exitStatus = -1
    try roundTrip(session)
  }

  @Test("a process's line is read as it was written", arguments: hostileTexts)
  func processes(text: String) throws {
    for begin in [nil, Session.Process.Begin.start, .fork] {
      try roundTrip(
        ProcessLine.joined(
          Session.Process(
            image: ImageName(pid: .max, incarnation: .max), parent: begin == nil ? nil : -1,
            program: begin == nil ? nil : text, begin: begin)))
    }
    try roundTrip(ProcessLine.missing(MissingProcess(pid: .max, program: text, reason: text)))
    try roundTrip(ProcessLine.missing(MissingProcess(pid: 1, program: nil, reason: "")))
    try roundTrip(ProcessLine.other)
  }

  @Test("a module's line is read as it was written", arguments: hostileTexts)
  func modules(text: String) throws {
    try roundTrip(ModuleLine.load(ModuleLoad(generation: 1, path: text)))
    var load = ModuleLoad(generation: .max, path: text)
    load.buildID = text
    // A prelinked library may be loaded below its own address: the difference wraps around.
    load.loadBias = LoadBias(.max)
    load.textStart = CodeAddress(1 << 63)
    load.textEnd = .max
    load.time = .max
    load.firstFunction = UInt64(UInt32.max)
    load.sites = .max
    load.armed = 1
    load.unwanted = 2
    load.skipped = 3
    load.skippedReasons = [SkippedReason(reason: text, count: .max)]
    load.status = text
    load.plan = text
    load.symbols = text
    try roundTrip(ModuleLine.load(load))
    try roundTrip(ModuleLine.unload(ModuleUnload(generation: 0, time: .max)))
    try roundTrip(ModuleLine.other)
  }

  @Test("the text is what docs/format.md says: sorted keys, and absent what is not known")
  func text() throws {
    var session = Session()
    session.schema = nil
    session.version = nil
    session.timeShift = nil
    let process = Session.Process(
      image: ImageName(pid: 7, incarnation: 0), parent: nil, program: nil, begin: nil)
    session.processes = [process]
    #expect(
      String(decoding: try RecordingJSON.encode(session), as: UTF8.self)
        == #"{"command":[],"ended":false,"exitStatus":null,"options":{"overwriteBytes":null}}"#)
    #expect(
      String(decoding: try RecordingJSON.encode(ProcessLine.joined(process)), as: UTF8.self)
        == #"{"process":{"events":"7-0.events","incarnation":0,"modules":"7-0.modules","pid":7}}"#)
    let missing = MissingProcess(pid: 8, program: nil, reason: "why")
    #expect(
      String(decoding: try RecordingJSON.encode(ProcessLine.missing(missing)), as: UTF8.self)
        == #"{"missing":{"pid":8,"program":null,"reason":"why"}}"#)
    let load = ModuleLine.load(ModuleLoad(generation: 1, path: "/lib/a"))
    #expect(
      String(decoding: try RecordingJSON.encode(load), as: UTF8.self)
        == #"{"load":{"armed":0,"buildID":null,"firstFunction":0,"generation":1,"loadBias":0,"#
        + #""path":"/lib/a","sites":0,"skipped":0,"skippedReasons":[],"status":"","textEnd":0,"#
        + #""textStart":0,"time":0,"unwanted":0}}"#)
  }

  @Test("a plan is read as it was written, and no other number of sites")
  func plans() {
    var generator = SeededGenerator(seed: 9)
    let choices: [SitePlan.Choice] = [.wanted, .unwanted, .leftAlone]
    for length in [0, 1, 2, 10, 1000] {
      var plan = SitePlan()
      var expected: [SitePlan.Choice] = []
      while expected.count < length {
        let choice = choices[Int.random(in: 0..<3, using: &generator)]
        for _ in 0..<Int.random(in: 1...20, using: &generator) where expected.count < length {
          plan.add(choice)
          expected.append(choice)
        }
      }
      #expect(plan.count == length)
      #expect(SitePlan(plan.text, sites: length) == plan)
      #expect(SitePlan(plan.text, sites: length + 1) == nil)
      #expect(length == 0 || SitePlan(plan.text, sites: length - 1) == nil)
      var found: [SitePlan.Choice] = []
      plan.forEach(upTo: length) { found += Array(repeating: $1, count: $0.count) }
      #expect(found == expected)
    }
  }

  @Test("a plan's runs are numbers and letters, without a number where it is 1")
  func planText() {
    var plan = SitePlan()
    for _ in 0..<12 { plan.add(.wanted) }
    plan.add(.leftAlone)
    for _ in 0..<3 { plan.add(.unwanted) }
    #expect(plan.text == "12al3u")
  }

  @Test("a symbol file's lines are read as they were written", arguments: hostileTexts)
  func symbols(text: String) throws {
    var bytes = SymbolHeader(count: 3, path: text).line
    let sites: [(ModuleOffset, UInt8)] = [(0, 0), (0x1030, 9), (.max, .max)]
    for (offset, flags) in sites {
      let start = SymbolLine(offset: offset, flags: flags, name: text).append(to: &bytes)
      #expect(bytes[start - 1] == UInt8(ascii: "\t"))
    }
    let lines = bytes.split(separator: 0x0a, omittingEmptySubsequences: false)
    try #require(lines.count == 5 && lines[4].isEmpty)
    let header = try #require(SymbolHeader(lines[0]))
    #expect(header.count == 3)
    #expect(header.path == text.replacingOccurrences(of: "\n", with: "?"))
    // What would break the line, or drive a terminal, is a question mark.
    let name = String(
      decoding: text.utf8.map { $0 < 0x20 || $0 == 0x7f ? UInt8(ascii: "?") : $0 }, as: UTF8.self)
    for (line, site) in zip(lines[1...], sites) {
      #expect(SymbolLine(line) == SymbolLine(offset: site.0, flags: site.1, name: name))
    }
  }

  @Test("every tracer has a name and a code of its own")
  func tracers() {
    for tracer in Tracer.allCases {
      #expect(Tracer(rawValue: tracer.name) == tracer)
      #expect(Tracer(code: tracer.code) == tracer)
    }
    #expect(Set(Tracer.allCases.map(\.code)) == [1, 2, 3, 4, 5])
    #expect(Tracer(code: 0) == nil && Tracer(code: 6) == nil)
  }

  @Test(
    "only a name as the recorder spells it is an event file's",
    arguments: [
      ("1-0.events", true), ("2147483647-4294967295.events", true), ("01-0.events", false),
      ("1-+0.events", false), ("-1-0.events", false), ("1-0-0.events", false), ("1.events", false),
      ("1-0.modules", false), ("2147483648-0.events", false), (".events", false),
    ])
  func images(name: String, isImage: Bool) {
    #expect(ImageName(events: name)?.events == (isImage ? name : nil))
  }
}
