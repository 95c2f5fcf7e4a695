// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// What a program can see of being traced: its descriptors, environment, signals, files.
@Suite struct TransparencyTests {
  private func compare(_ mode: String, _ arguments: [String] = []) throws -> TracedRun {
    let program = try Program(source: "looks.c").build()
    let plain = try runChild(program, [mode] + arguments)
    let traced = try TracedRun(program, [mode] + arguments)
    #expect(traced.result.ending == plain.ending)
    let seen = [traced.result.output, plain.output].map { $0.split(separator: "\n").sorted() }
    #expect(seen[0] == seen[1])
    #expect(!plain.output.isEmpty)
    return traced
  }

  @Test(
    "A program sees what it sees alone",
    arguments: ["descriptors", "environment", "arguments", "signals", "timer", "errno", "closes"])
  func sees(mode: String) throws {
    let traced = try compare(mode, ["a b", "", "--", "-o"])
    #expect(traced.calls["look"] == 1)
    #expect(traced.recording.complaints == [])
  }

  @Test("No gmon.out is left behind")
  func noProfile() throws {
    let folder = try TemporaryFolder.shared.fresh("folder")
    let program = try Program(source: "looks.c").build()
    let traced = try TracedRun(program, ["folder", folder])
    #expect(traced.result.ending == .exit(3))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])
  }

  @Test("A library that the user preloads is kept")
  func preload() throws {
    let library = try Program(source: "plugin.c", extra: ["-shared", "-fPIC"]).build()
    let program = try Program(source: "looks.c").build()
    let traced = try TracedRun(
      program, ["arguments"], environment: ["LD_PRELOAD": library])
    #expect(traced.result.ending == .exit(3))
    #expect(traced.calls["plugin_begin"] == 1)
  }

  @Test("A flight recorder keeps the last calls of a thread")
  func overwrite() throws {
    let program = try Program(source: "jumps.c").build()
    let traced = try TracedRun(program, ["1000000"], options: ["--overwrite", "256K"])
    #expect(traced.result.ending == .exit(0))
    #expect((traced.calls["raiser"] ?? 0) == 1000)  // they come last
    #expect((traced.calls["catcher"] ?? 0) < 1_000_000)
  }
}
