// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// A way to load and unload, and what must have been counted.
struct UnloadCase: Sendable, CustomStringConvertible {
  var how: String
  /// Of Programs/, with options, under the name that the program is given.
  var files: [File]
  var calls: [String: Int]
  /// Lines that the program prints when it meets what the test is about.
  var says: [String] = []
  /// Words behind `how`; by default the files' paths.
  var words: [String]?
  var description: String { how }

  struct File: Sendable {
    var name: String
    var source = "plugin.c"
    var options: [String] = []
  }

  static let plugin = File(name: "plugin.so")
  static let other = File(name: "other.so", options: ["-DNAME=plugin_other"])
}

private let unloadCases: [UnloadCase] = [
  UnloadCase(
    how: "moved", files: [UnloadCase.plugin],
    calls: ["plugin_enter": 5, "plugin_leaf": 14, "plugin_begin": 2, "plugin_end": 2],
    says: ["another place"]),
  UnloadCase(
    how: "replaced", files: [UnloadCase.plugin, UnloadCase.other],
    calls: ["plugin_enter": 2, "plugin_other": 3, "plugin_begin": 2, "plugin_end": 2]),
  UnloadCase(
    how: "replaced while loaded", files: [UnloadCase.plugin, UnloadCase.other],
    calls: ["plugin_enter": 5, "plugin_other": 4, "plugin_begin": 2, "plugin_end": 2]),
  UnloadCase(
    how: "replaced while loaded",
    files: [
      UnloadCase.File(name: "plugin.so", options: ["-Wl,--build-id=0x0123456789abcdef"]),
      UnloadCase.File(
        name: "other.so", options: ["-DNAME=plugin_other", "-Wl,--build-id=0x0123456789abcdef"]),
    ],
    calls: ["plugin_enter": 5, "plugin_other": 4, "plugin_begin": 2, "plugin_end": 2]),
  UnloadCase(
    how: "deleted", files: [UnloadCase.plugin],
    calls: ["plugin_enter": 5, "plugin_begin": 1, "plugin_end": 1]),
  UnloadCase(
    how: "by descriptor", files: [UnloadCase.plugin],
    calls: ["plugin_enter": 5, "plugin_begin": 1, "plugin_end": 1]),
  UnloadCase(
    how: "two",
    files: [
      UnloadCase.File(name: "a/plugin.so"),
      UnloadCase.File(name: "b/plugin.so", options: ["-DNAME=plugin_other"]),
    ],
    calls: ["plugin_enter": 6, "plugin_other": 10, "plugin_leaf": 36, "plugin_begin": 2]),
  UnloadCase(
    how: "two",
    files: [
      UnloadCase.File(name: "a/plugin.so", options: ["-Wl,--build-id=0x0123456789abcdef"]),
      UnloadCase.File(
        name: "b/plugin.so",
        options: ["-DNAME=plugin_other", "-Wl,--build-id=0x0123456789abcdef"]),
    ],
    calls: ["plugin_enter": 6, "plugin_other": 10, "plugin_leaf": 36, "plugin_begin": 2]),
  UnloadCase(
    how: "references", files: [UnloadCase.plugin],
    calls: ["plugin_enter": 5, "plugin_begin": 1, "plugin_end": 1]),
  UnloadCase(
    how: "dependency",
    files: [
      UnloadCase.plugin,
      UnloadCase.File(
        name: "outer.so", source: "outer.c",
        options: ["-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed", "-l:plugin.so"]),
    ],
    calls: ["outer": 6, "plugin_enter": 6, "plugin_begin": 3, "plugin_end": 3],
    says: ["gone", "gone", "gone"], words: ["outer.so", "plugin.so"]),
  UnloadCase(
    how: "namespaces", files: [UnloadCase.plugin],
    // Another namespace's are not traced: its three loads and six calls are the program's alone.
    calls: ["plugin_enter": 12, "plugin_begin": 3, "plugin_end": 3]),
  UnloadCase(
    how: "nested",
    files: [
      UnloadCase.plugin,
      UnloadCase.File(name: "busy.so", source: "busy.c", options: ["-Wl,-rpath,$ORIGIN"]),
    ],
    calls: [
      "busy_enter": 40, "busy_begin": 20, "busy_end": 20, "busy_start": 40, "busy_thread": 40,
      "busy_leaf": 80, "plugin_enter": 40, "plugin_begin": 20, "plugin_end": 20,
    ], words: ["busy.so"]),
  UnloadCase(how: "by libc", files: [], calls: ["work": 20]),
  UnloadCase(
    how: "closes itself",
    files: [
      UnloadCase.plugin,
      UnloadCase.File(name: "busy.so", source: "busy.c", options: ["-Wl,-rpath,$ORIGIN"]),
    ],
    calls: ["leave": 50, "busy_leaf": 150, "busy_end": 50, "plugin_end": 50], words: ["busy.so"]),
  UnloadCase(
    how: "unmapped", files: [UnloadCase.plugin, UnloadCase.other],
    calls: ["plugin_enter": 2, "plugin_other": 7, "plugin_begin": 3], says: ["0 bytes changed"]),
  UnloadCase(
    how: "unmapped",
    files: [
      UnloadCase.File(name: "plugin.so", options: ["-Wl,-z,noseparate-code"]), UnloadCase.other,
    ],
    calls: ["plugin_enter": 2, "plugin_other": 7, "plugin_begin": 3], says: ["0 bytes changed"]),
  UnloadCase(
    how: "while iterating", files: [UnloadCase.plugin],
    calls: ["plugin_enter": 1000, "plugin_begin": 500]),
]

/// Libraries that come and go under a tracer: the program behaves as alone, and every function is
/// counted under its own name, each generation by itself.
@Suite struct UnloadTests {
  private func build(_ one: UnloadCase) throws -> (program: String, words: [String]) {
    let folder = try TemporaryFolder.shared.fresh("unload")
    for file in one.files {
      let path = "\(folder)/\(file.name)"
      try FileManager.default.createDirectory(
        atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      let built = try Program(
        source: file.source,
        extra: ["-shared", "-fPIC", "-Wl,--build-id=sha1"]
          + file.options.flatMap { $0.hasPrefix("-l:") ? ["-L\(folder)", $0] : [$0] }
      ).build()
      try ProgramFile.copy(built, to: path)
    }
    let program = folder + "/program"
    let built = try Program(source: "unloads.c", extra: ["-Wl,-rpath,$ORIGIN"]).build()
    try ProgramFile.copy(built, to: program)
    return (program, [one.how] + (one.words ?? one.files.map { "\(folder)/\($0.name)" }))
  }

  private func check(_ one: UnloadCase, tracer: String) throws {
    // Some of them change their files.
    let (program, words) = try build(one)
    let plain = try runChild(program, words)
    let (again, others) = try build(one)
    let traced = try TracedRun(again, others, options: ["--tracer", tracer])
    #expect(traced.result.ending == plain.ending)
    #expect(plain.ending == .exit(3), "\(plain.output)")
    #expect(traced.result.output == plain.output)
    for line in one.says { #expect(plain.output.contains(line)) }
    // What differs from run to run is said on stderr.
    let stated = statedCalls(traced.result.standardError)
    for (name, count) in one.calls.merging(stated, uniquingKeysWith: { $1 }) {
      #expect(traced.calls[name] == count, "\(name)")
    }
    #expect(traced.recording.complaints == [])
    #expect(traced.calls.keys.allSatisfy { !$0.hasPrefix("#") }, "\(traced.calls)")
  }

  @Test("Whatever way a library comes and goes, its calls are counted", arguments: unloadCases)
  func unloads(one: UnloadCase) throws {
    try check(one, tracer: "function_graph")
    try check(one, tracer: "hits")
  }

  @Test("5,000 loads of 200 libraries that take turns at a few addresses, 300 of them held at once")
  func turns() throws {
    let turns = try Turns(count: 300)
    let program = try Program(source: "turns.c").build()
    let traced = try TracedRun(
      program, ["5000", "300", turns.folder, "300"], timeoutSeconds: 300)
    #expect(traced.result.ending == .exit(3), "\(traced.result.output.suffix(200))")
    let stated = statedCalls(traced.result.output)
    #expect(stated.count == 300)
    for (name, count) in stated { #expect(traced.calls[name] == count, "\(name)") }
    // They did take turns.
    let places = traced.result.output.split(separator: "\n").last?.split(separator: " ").last
    #expect(places.flatMap { Int($0) }.map { $0 < 30 } == true, "\(places ?? "")")
    let process = try #require(traced.recording.processes.first)
    // Each load is a generation of its own, with its own number of calls.
    let loads = process.generations.filter { $0.path.hasPrefix(turns.folder) }
    #expect(loads.count == 5300)
    for (load, index) in zip(loads, 0..<5000) {
      let calls = process.callsByFunction[load.firstFunction] ?? 0
      #expect(calls == index % 300 % 7 + 1, "load \(index), generation \(load.generation)")
      #expect(process.names[load.firstFunction]?.name == String(format: "turn_%04d", index % 300))
    }
    #expect(traced.recording.complaints == [])
  }

  @Test("A library that came and went unseen is not taken for the one before it at its place")
  func unseen() throws {
    let one = UnloadCase(
      how: "unseen",
      // Found while it may be running: single instructions at even addresses.
      files: [
        UnloadCase.File(name: "plugin.so", options: ["-mfentry"]),
        UnloadCase.File(name: "other.so", options: ["-mfentry", "-DNAME=plugin_other"]),
      ], calls: [:])
    let (program, words) = try build(one)
    let traced = try TracedRun(program, words)
    #expect(traced.result.ending == .exit(3))
    #expect(traced.result.output.contains("same place"))
    // Three of four: one call came before the agent saw the library.
    #expect(traced.calls["plugin_enter"] == 3)
    #expect(traced.calls["plugin_other"] == 1)
    let process = try #require(traced.recording.processes.first)
    let generations = process.generations.filter { $0.path.hasSuffix("plugin.so") }
    #expect(generations.count == 2)
    #expect(
      generations.map { first in
        (0..<first.sites).reduce(0) {
          process.names[first.firstFunction + $1]?.name == "plugin_enter"
            ? $0 + (process.callsByFunction[first.firstFunction + $1] ?? 0) : $0
        }
      } == [2, 1])
    #expect(traced.recording.complaints == [])
  }

  @Test("A text segment that fills its last page is traced like any other")
  func noSlack() throws {
    let folder = try TemporaryFolder.shared.fresh("full")
    var fill = 0
    var path = ""
    for _ in 0..<3 {
      path = try Program(
        source: "plugin.c",
        extra: [
          "-shared", "-fPIC", "-nostartfiles", "-Wl,-z,separate-code", "-Wa,--defsym,fill=\(fill)",
          "\(Program.folder)/fill.S", "-Wl,--build-id=sha1",
        ]
      ).build()
      let size = try textBytes(path)
      if size % 4096 == 0 { break }
      fill += 4096 - size % 4096
    }
    #expect(try textBytes(path) % 4096 == 0)
    try ProgramFile.copy(path, to: folder + "/plugin.so")
    let program = try Program(source: "unloads.c").build()
    let traced = try TracedRun(program, ["moved", folder + "/plugin.so"])
    #expect(traced.result.ending == .exit(3))
    #expect(traced.calls["plugin_enter"] == 5)
  }

  /// The size of its executable segment, by readelf.
  private func textBytes(_ path: String) throws -> Int {
    let line = try Tools.run("readelf", ["-lW", path]).split(separator: "\n")
      .first { $0.contains("LOAD") && $0.contains("R E") }
    let words = try #require(line).split(separator: " ")
    return try #require(Int(words[5].dropFirst(2), radix: 16))
  }

  @Test(
    "A forked child keeps the libraries that its parent unloads before the child's first call",
    arguments: ["fork", "raw"], ["function_graph", "hits"])
  func childKeeps(how: String, tracer: String) throws {
    let program = try Program(source: "child_keeps.c").build()
    let libraries = try ["1", "2", "3"].map {
      try Program(source: "plugin.c", extra: ["-shared", "-fPIC", "-DBUILD=\($0)"]).build()
    }
    let traced = try TracedRun(program, [how] + libraries, options: ["--tracer", tracer])
    #expect(traced.result.ending == .exit(0))
    #expect(traced.calls["plugin_enter"] == 180)
    // Two calls of it by each of these, one by each constructor, one by each destructor of the
    // parent's.
    #expect(traced.calls["plugin_leaf"] == 2 * 180 + 2 * 24)
    #expect(traced.calls.keys.allSatisfy { !$0.hasPrefix("#") }, "\(traced.calls)")
    #expect(traced.recording.complaints == [])
  }
}
