// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

struct ProcessCase: Sendable, CustomStringConvertible {
  var how: String
  var calls: [String: Int]
  var description: String { how }
}

private let endings: [ProcessCase] = [
  ProcessCase(how: "fork", calls: ["work": 10, "do_child": 1, "child_work": 10]),
  ProcessCase(how: "raw", calls: ["work": 10, "do_child": 1, "child_work": 10]),
  ProcessCase(how: "vfork", calls: ["work": 10, "do_child": 1, "child_work": 11]),
  ProcessCase(how: "spawn", calls: ["work": 10, "with_spawn": 1]),
  ProcessCase(how: "daemon", calls: ["work": 10, "do_child": 2, "child_work": 11]),
  ProcessCase(
    how: "threads", calls: ["with_fork": 20, "do_child": 20, "child_work": 200, "busy": 2]),
  ProcessCase(how: "system", calls: ["work": 10]),
  ProcessCase(how: "kill", calls: ["work": 10, "main": 1]),
  ProcessCase(how: "segv", calls: ["work": 10, "main": 1]),
  ProcessCase(how: "abort", calls: ["work": 10, "main": 1]),
  ProcessCase(how: "_exit", calls: ["work": 10, "main": 1]),
  ProcessCase(how: "exec", calls: ["work": 10, "main": 1]),
]
private let everyKind = [
  ["--tracer", "function_graph"], ["--max-depth", "20"], ["--tracer", "hits"],
  ["--tracer", "profile"], ["--tracer", "callgraph"],
]

/// Children of every kind, and every way to end.
@Suite struct ProcessTests {
  @Test("Whatever becomes of a process, all that it called is read", arguments: endings, everyKind)
  func processes(one: ProcessCase, options: [String]) throws {
    let program = try Program(source: "processes.c").build()
    let plain = try runChild(program, [one.how])
    let traced = try TracedRun(program, [one.how], options: options)
    #expect(traced.result.ending == plain.ending)
    #expect(traced.result.output == plain.output)
    for (name, count) in one.calls { #expect(traced.calls[name] == count, "\(name)") }
    #expect(traced.recording.complaints == [])
    #expect(traced.calls.keys.allSatisfy { !$0.hasPrefix("#") }, "\(traced.calls)")
  }

  @Test("A forked child that loads a library before its first call is traced there")
  func childLoads() throws {
    let plugin = try Program(source: "plugin.c", extra: ["-shared", "-fPIC"]).build()
    let program = try Program(source: "processes.c").build()
    let traced = try TracedRun(program, ["plugin", plugin])
    #expect(traced.result.ending == .exit(3))
    #expect(traced.calls["plugin_leaf"] == 3)
    #expect(traced.calls["plugin_begin"] == 1)
  }

  @Test("A library that comes and goes is traced from its constructor on, each time")
  func reloads() throws {
    let one = try Program(source: "plugin.c", extra: ["-shared", "-fPIC"]).build()
    let other = try Program(
      source: "plugin.c", extra: ["-shared", "-fPIC", "-DNAME=plugin_other"]
    ).build()
    let program = try Program(source: "loads.c").build()
    let rounds = ProcessInfo.processInfo.environment["NOPSCOPE_LOADS"].flatMap(Int.init) ?? 1000
    let traced = try TracedRun(program, ["\(rounds)", one, other], timeoutSeconds: 300)
    #expect(traced.result.ending == .exit(0))
    for (name, count) in statedCalls(traced.result.output) {
      #expect(traced.calls[name] == count, "\(name)")
    }
    #expect(traced.calls["plugin_enter"] == rounds / 2)
    #expect(traced.calls["plugin_other"] == rounds / 2)
    #expect(traced.recording.complaints == [])
  }

  @Test("One load costs what another does, however many modules there are")
  func manyLoads() throws {
    let count = 1200
    let plugin = try Program(
      source: "plugin.c", extra: ["-shared", "-fPIC", "-DNAME=loaded", "-Wl,--build-id=none"]
    ).build()
    let folder = try TemporaryFolder.shared.fresh("many-loads")
    for number in 0..<count {
      try ProgramFile.copy(plugin, to: "\(folder)/\(number).so")
    }
    let program = try Program(source: "many_loads.c").build()
    let traced = try TracedRun(program, [folder, "\(count)"], timeoutSeconds: 300)
    #expect(traced.result.ending == .exit(3))
    #expect(traced.calls["loaded"] == count)
    let lines = traced.result.output.split(separator: "\n").map { $0.split(separator: " ") }
    try #require(lines.count == 2 && lines.allSatisfy { $0.count == 3 })
    let (firstTime, lastTime) = (try #require(Int(lines[0][1])), try #require(Int(lines[0][2])))
    let (firstBytes, lastBytes) = (try #require(Int(lines[1][1])), try #require(Int(lines[1][2])))
    #expect(lastBytes < 2 * firstBytes, "no file is read that grows: \(lines)")
    // The loader's own part grows too. Where each load read every module, this was 20 and more.
    #expect(lastTime < 5 * firstTime, "\(lines)")
  }
}
