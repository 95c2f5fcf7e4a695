// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

private let stackPrograms = [
  "values.c", "exceptions.cpp", "jumps.c", "endings.c", "coroutine.c", "coroutine_gone.c",
  "coroutine_moves.c", "altstack.c", "deep.c", "jump_stacks.c",
]

/// Programs that treat their stacks in every way that is allowed: traced, they behave as they do
/// alone, and every call is counted.
@Suite struct ReturnTests {
  @Test(
    "A traced program behaves as it does alone, however it was built and is recorded",
    arguments: stackPrograms, Manner.some)
  func behaves(source: String, manner: Manner) throws {
    let program = try Program(source: source, variant: manner.variant).build()
    let arguments = source == "jumps.c" ? ["20000"] : []
    let plain = try runChild(program, arguments)
    let traced = try TracedRun(program, arguments, options: manner.options)
    #expect(traced.result.ending == plain.ending)
    #expect(traced.result.output == plain.output)
    for (name, count) in statedCalls(plain.output) {
      #expect(traced.calls[name] == count, "\(name)")
    }
    #expect(traced.recording.lostEvents == 0)
    #expect(traced.recording.complaints.prefix(3) == [])
  }

  @Test(
    "gcc's patchable functions change no register that they do not change themselves",
    arguments: everyTracer.map { ["--tracer", $0] } + [
      ["--max-depth", "100"], ["--graph", "main"], ["--start-on", "*"], ["--duration", "100s"],
      ["--overwrite", "64M", "--snapshot-on", "*>100s"],
    ])
  func interproceduralAllocation(options: [String]) throws {
    let program = try Program(source: "registers.c", variant: .patchable).build()
    let plain = try runChild(program)
    #expect(plain.output.hasPrefix("changed 0,"))
    let traced = try TracedRun(program, options: options)
    #expect(traced.result.output == plain.output)
    for (name, count) in statedCalls(plain.output) {
      #expect(traced.calls[name] == count, "\(name)")
    }
    #expect(traced.recording.complaints.prefix(3) == [])
  }

  /// Unwinders find the rule for the trampolines in the agent's file, as they find all others: it
  /// need not be told to each of them.
  @Test("Unwinders that are linked statically or loaded late pass through hooked frames")
  func everyUnwinder() throws {
    var thrower = Program(source: "exceptions.cpp")
    thrower.extra = ["-static-libgcc", "-static-libstdc++"]
    // backtrace() loads libgcc_s at its first call.
    for program in [thrower, Program(source: "backtraces.c")] {
      let path = try program.build()
      let needed = try Tools.run("readelf", ["-dW", path])
      try #require(!needed.contains("libgcc_s"))
      let plain = try runChild(path)
      let traced = try TracedRun(path)
      #expect(traced.result.ending == plain.ending)
      #expect(traced.result.output == plain.output)
      for (name, count) in statedCalls(plain.output) {
        #expect(traced.calls[name] == count, "\(name)")
      }
    }
  }

  /// What interrupts an event for good leaves no half of it: endings.c cancels threads
  /// asynchronously that do little else than being traced. (The decoder complains of bytes that are
  /// no event.)
  @Test(
    "Without restartable sequences it is slower, and the same",
    arguments: ["endings.c", "jumps.c", "values.c"], ["function_graph", "function"])
  func withoutSequences(source: String, tracer: String) throws {
    let program = try Program(source: source).build()
    let arguments = source == "jumps.c" ? ["2000"] : []
    let plain = try runChild(program, arguments)
    let traced = try TracedRun(
      program, arguments, options: ["--tracer", tracer],
      environment: ["GLIBC_TUNABLES": "glibc.pthread.rseq=0"])
    #expect(traced.result.output == plain.output)
    for (name, count) in statedCalls(plain.output) {
      #expect(traced.calls[name] == count, "\(name)")
    }
    #expect(traced.recording.complaints.prefix(3) == [])
  }

  @Test("Frames that longjmp has skipped take no room in the shadow stack")
  func noLeak() throws {
    let program = try Program(source: "jumps.c").build()
    let traced = try TracedRun(program, ["100000"])
    let process = try #require(traced.recording.processes.first)
    #expect(traced.calls["catcher"] == 100_000)
    // A call without a slot is unwound at once: then calls would be missing here.
    #expect(process.entries == process.exits + process.unwound)
    #expect(process.unwound == 250_000 + 2000)
  }
}
