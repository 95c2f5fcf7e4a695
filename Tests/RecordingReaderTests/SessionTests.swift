// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingReader
import RecordingSchema
import TestSupport
import Testing
import Units

/// Modules, names and clocks.
@Suite struct SessionTests {
  private static let chunk = SyntheticChunk { $0.call(0, from: 1_000_001, to: 1_000_002) }

  private func open(_ change: (inout SyntheticRecording) -> Void) throws -> Recording {
    let one = SyntheticModule("/lib/one.so", functions: ["plain", "_ZN3one3twoEv", ""])
    var two = SyntheticModule(
      "/opt/two", buildID: nil, firstFunction: 3, functions: ["$s4main5helloyyF"])
    two.generation = 2
    two.entryOnly = [0]
    two.unloadTime = 9_000_000
    var bare = SyntheticModule("/lib/libc.so.6", buildID: nil, firstFunction: 4, functions: [])
    bare.loadBias = 0x7777_0000_0000
    let process = SyntheticProcess(modules: [one, two, bare], chunks: [Self.chunk])
    var recording = SyntheticRecording(processes: [process])
    change(&recording)
    return try Recording(directory: try recording.write())
  }

  @Test("numbers become names: plain, C++, Swift, unknown, of no module")
  func names() throws {
    let process = try open { _ in }.processes[0]
    let names = (0...4).map { process.function($0) }
    #expect(names.map(\.name) == ["plain", "one::two()", nil, "main.hello() -> ()", nil])
    #expect(names.map(\.rawName) == ["plain", "_ZN3one3twoEv", nil, "$s4main5helloyyF", nil])
    #expect(
      names.map(\.modulePath) == ["/lib/one.so", "/lib/one.so", "/lib/one.so", "/opt/two", nil])
    #expect(names.map(\.offset) == [0x1000, 0x1010, 0x1020, 0x1000, nil])
    #expect(names.map(\.isEntryOnly) == [false, false, false, true, false])
    #expect(names.map(\.generation) == [1, 1, 1, 2, 0])
    #expect(names[2].label(number: 2) == "one.so+0x1020")
    #expect(names[4].label(number: 4) == "function 4")
    #expect(process.entryOnlyFunctions() == [3])
    #expect(process.modules[1].unloadTime == 9_000_000)
    #expect(process.caller(at: 0x5555_0000_1018, time: 2_000_000) == "one::two()")
    #expect(process.caller(at: 0x5555_0000_1028, time: 2_000_000) == "one.so+0x1028")
    #expect(process.caller(at: 0x7777_0000_2345, time: 2_000_000) == "libc.so.6+0x2345")
    #expect(process.caller(at: 0x7777_0000_2345, time: 1) == nil, "it was not there yet")
    #expect(process.caller(at: 0x4444_0000_1018, time: 2_000_000) == nil)
  }

  @Test("a symbol's name longer than any that is written is none")
  func longName() throws {
    let long = String(repeating: "n", count: 12_289)
    let module = SyntheticModule("/lib/one.so", functions: [String(long.dropLast()), long])
    let process = SyntheticProcess(modules: [module], chunks: [Self.chunk])
    let read = try Recording(directory: SyntheticRecording(processes: [process]).write())
    #expect(read.processes[0].function(0).rawName?.count == 12_288)
    #expect(read.processes[0].function(1).label(number: 1) == "one.so+0x1010")
  }

  @Test("the clock's rate comes from the session, else from the header's two times")
  func clock() throws {
    let session = try open { $0.ticksPerSecond = 3_000_000_000 }
    #expect(session.processes[0].nanoseconds(ofUnits: 3000) == 2000)
    let header = try open { recording in
      recording.hasSession = false
      recording.processes[0].endTime = 5_000_000
    }
    #expect(header.processes[0].nanoseconds(ofUnits: 3000) == 3000)
    #expect(header.problems == [])
    #expect(header.processes[0].tracer == .functionGraph)
    let neither = try open { $0.ticksPerSecond = nil }
    #expect(
      neither.notes == ["4711-0.events: the clock's rate is not known: one unit is taken for 1 ns"])
  }

  @Test("a build-id that is no hexadecimal is not used as a file's name")
  func hostileBuildID() throws {
    let recording = try open { $0.processes[0].modules[0].buildID = nil }
    let path = recording.directory + "/4711-0.modules"
    let text = try String(contentsOfFile: path, encoding: .utf8)
      .replacingOccurrences(of: "\"buildID\":null", with: "\"buildID\":\"../session.json\"")
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    let again = try Recording(directory: recording.directory)
    #expect(again.processes[0].modules.map(\.buildID) == [nil, nil, nil])
  }

  @Test("a module whose path is longer than an agent sends is no module: functions get its name")
  func hostilePath() throws {
    func modules(pathOf length: Int) throws -> (paths: [String], problems: [String]) {
      let recording = try open {
        $0.processes[0].modules[0].path = String(repeating: "m", count: length)
      }
      return (recording.processes[0].modules.map(\.path), recording.problems)
    }
    let longest = try modules(pathOf: 16000)
    #expect(longest.paths.count == 3)
    #expect(longest.problems == [])
    let longer = try modules(pathOf: 16001)
    #expect(longer.paths == Array(longest.paths.dropFirst()))
    #expect(longer.problems == ["4711-0.modules:1: expected a module's JSON line, skipped"])
  }

  @Test("a recording's text files of the version before are read")
  func earlier() throws {
    let recording = try open { $0.hasSession = false }
    let session = #"""
      {"schema":"nopscope.recording/1","version":2,"command":["./prog","a\"b"],\#
      "tracer":"function_graph","options":{"filter":["parse_*"],"notrace":[],"graph":[],\#
      "maximumDepth":7,"thresholdNanoseconds":0,"threads":[],"overwriteBytes":null},\#
      "startRealtimeNanoseconds":1700000000000000000,"ticksPerSecond":3000000000,"timeShift":1,\#
      "host":"name","ended":true,"exitStatus":3,"processes":[{"pid":4711,"incarnation":0,\#
      "parent":4700,"begin":"fork","program":"/bin/prog","events":"4711-0.events",\#
      "modules":"4711-0.modules"}]}

      """#
    let modules = #"""
      {"load":{"generation":1,"path":"/lib/one.so","buildID":\#
      "00112233445566778899aabbccddeeff00112233","loadBias":140000000000000,\#
      "textStart":140000000004096,"textEnd":140000000065536,"time":123456,"firstFunction":0,\#
      "sites":3,"armed":2,"unwanted":1,"skipped":3,"skippedReasons":[{"reason":"a reason",\#
      "count":3}],"status":"ok","plan":"2au"}}
      {"unload":{"generation":1,"time":234567}}

      """#
    let folder = recording.directory
    try session.write(toFile: folder + "/session.json", atomically: true, encoding: .utf8)
    try modules.write(toFile: folder + "/4711-0.modules", atomically: true, encoding: .utf8)
    let read = try Recording(directory: folder)
    #expect(read.problems == [])
    #expect(read.session.command == ["./prog", "a\"b"] && read.session.exitStatus == 3)
    #expect(read.session.options.filter == ["parse_*"] && read.session.options.maximumDepth == 7)
    let process = try #require(read.processes.first)
    #expect(process.parent == 4700 && process.program == "/bin/prog")
    #expect(process.nanoseconds(ofUnits: 3000) == 2000)
    let module = try #require(process.modules.first)
    #expect(module.loadBias == 140_000_000_000_000 && module.unloadTime == 234567)
    #expect(module.armed == 2 && module.skippedReasons.first?.count == 3)
    #expect(process.function(1).name == "one::two()")
  }

  @Test("numbers as large as there are do no harm")
  func largeNumbers() throws {
    let recording = try open { $0.processes[0].modules[0].entryOnly = [0, 1, 2] }
    let path = recording.directory + "/4711-0.modules"
    let most = "18446744073709551615"
    let line = """
      {"load":{"generation":1,"path":"/lib/one.so",\
      "buildID":"00112233445566778899aabbccddeeff00112233","loadBias":\(most),"textEnd":\(most),\
      "time":\(most),"firstFunction":\(most),"sites":\(most),"armed":\(most),"skipped":\(most)}}
      {"unload":{"generation":1,"time":\(most)}}

      """
    try line.write(toFile: path, atomically: true, encoding: .utf8)
    let process = try Recording(directory: recording.directory).processes[0]
    #expect(process.modules.first?.loadBias.rawValue == .max)
    #expect(process.entryOnlyFunctions().count == 3)
    #expect(process.function(.max).name == nil)
    #expect(process.caller(at: CodeAddress(.max - 1), time: .max) == nil)
  }

  @Test("processes are read from lines of their own; a last one that is cut was being written")
  func processLines() throws {
    let recording = try open { recording in
      var other = recording.processes[0]
      other.pid = 4800
      other.parent = 4711
      other.program = "/bin/other"
      recording.processes.append(other)
    }
    let path = recording.directory + "/processes"
    func programs() throws -> [String?] {
      try Recording(directory: recording.directory).session.processes.map(\.program)
    }
    #expect(try programs() == ["/usr/bin/program", "/bin/other"])
    let whole = try String(contentsOfFile: path, encoding: .utf8)
    let cut = #"{"missing":{"pid":5,"program":null,"reason":"no reason"}}"#
    try (whole + cut + "\n" + cut.dropLast(3)).write(
      toFile: path, atomically: true, encoding: .utf8)
    let read = try Recording(directory: recording.directory)
    #expect(read.problems == [] && read.notes == [])
    #expect(read.processes.map(\.parent) == [1, 4711])
    #expect(
      read.session.missing == [MissingProcess(pid: 5, program: nil, reason: "no reason")])
    try (#"{"process":{"pid":"x"}}"# + "\n" + whole).write(
      toFile: path, atomically: true, encoding: .utf8)
    #expect(
      try Recording(directory: recording.directory).problems
        == ["processes:1: expected a process's JSON line, skipped"])
    try "".write(toFile: path, atomically: true, encoding: .utf8)
    let without = try Recording(directory: recording.directory)
    #expect(without.problems == [] && without.processes.count == 2)
    #expect(
      without.notes == [
        "processes: no line for 4711-0.events and 1 others: the reader takes parents and programs "
          + "from other files"
      ])
  }

  @Test("a session that lists a process without its files says so")
  func missingFile() throws {
    let recording = try open { recording in
      var other = recording.processes[0]
      other.pid = 4800
      recording.processes.append(other)
    }
    try FileManager.default.removeItem(atPath: recording.directory + "/4800-0.events")
    let again = try Recording(directory: recording.directory)
    #expect(again.problems == ["4800-0.events: its process joined, but the file is missing"])
    #expect(again.processes.count == 1)
  }
}
