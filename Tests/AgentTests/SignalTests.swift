// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Threads and signals of a program that loads and unloads a library all the time, and so is
/// patched all the time: it behaves as without nopscope, and every call is counted.
@Suite struct SignalTests {
  private func build() throws -> (program: String, plugin: String) {
    (
      try Program(source: "signals.c").build(),
      try Program(source: "plugin.c", extra: ["-shared", "-fPIC"]).build()
    )
  }

  @Test(
    "A program's masks, handlers, sleeps, threads and forks are its own",
    arguments: ["blocked", "full-mask", "own-trap", "sleepers", "churn", "forks", "own-faults"])
  func behaves(mode: String) throws {
    let (program, plugin) = try build()
    let plain = try runChild(program, [mode, plugin])
    let traced = try TracedRun(program, [mode, plugin], timeoutSeconds: 120)
    #expect(plain.ending == .exit(3))
    #expect(traced.result.ending == plain.ending)
    #expect(traced.result.output == plain.output)
    #expect(mode == "sleepers" || !statedCalls(plain.output).isEmpty)
    for (name, count) in statedCalls(plain.output) {
      #expect(traced.calls[name] == count, "\(name)")
    }
    #expect((traced.calls["plugin_enter"] ?? 0) > 0)
    #expect(traced.recording.lostEvents == 0)
    #expect(traced.recording.complaints.prefix(3) == [])
  }

  /// How often the timer fires is not the program's to say: it counts what it did.
  @Test(
    "SIGPROF a thousand times a second, in a handler on a stack of its own",
    arguments: ["function_graph", "callgraph"])
  func profiled(tracer: String) throws {
    let (program, plugin) = try build()
    let traced = try TracedRun(
      program, ["profiled", plugin], options: ["--tracer", tracer], timeoutSeconds: 120)
    #expect(traced.result.ending == .exit(3))
    let stated = statedCalls(traced.result.output)
    #expect((stated["on_signal"] ?? 0) >= 200)
    for (name, count) in stated { #expect(traced.calls[name] == count, "\(name)") }
    #expect(traced.recording.lostEvents == 0)
  }

  /// Another thread asks for every real-time signal's and every fault's action, over and over.
  @Test("No signal is taken: not before, not during and not after a load")
  func dispositions() throws {
    let (program, plugin) = try build()
    let traced = try TracedRun(program, ["dispositions", plugin])
    #expect(traced.result.ending == .exit(3))
    #expect(traced.result.output == "before 0\nduring 0\nafter 0\n")
    #expect(traced.calls["plugin_enter"] == 200)
  }

  @Test("No executable memory is writable but a module's text while that is written")
  func writableText() throws {
    let (program, plugin) = try build()
    let traced = try TracedRun(program, ["maps", plugin], timeoutSeconds: 120)
    #expect(traced.result.output == "open 0\nlooked 1\n")
    #expect(traced.calls["descend"] == 100 * 5001)
    #expect(traced.calls["plugin_enter"] == 100)
  }

  /// A library that is initialised before the agent has started a thread by then: the code
  /// that the thread runs is not patched, what is loaded later is.
  @Test("Text that may be running already is patched by the jump guard, or left alone and said so")
  func early() throws {
    let early = try Program(
      source: "early.c", extra: ["-shared", "-fPIC", "-Wl,-z,initfirst"]
    ).build()
    let plugin = try build().plugin
    // Single instructions at even addresses are made while others run them.
    let fentry = Variant(compiler: .gcc, level: "-O2", instrumentation: ["-pg", "-mfentry"])
    let calls = try Program(source: "early_main.c", variant: fentry).build()
    let live = try TracedRun(calls, [plugin], environment: ["LD_PRELOAD": early])
    #expect(live.result.output == "sum 8\n")
    #expect(live.calls["main"] == 1 && live.calls["late_work"] == 1)
    #expect(live.calls["plugin_leaf"] == 4)
    // Runs of nops are not: a thread might be inside one.
    let runs = Variant(
      compiler: .gcc, level: "-O2", instrumentation: ["-fpatchable-function-entry=5"])
    let program = try Program(source: "early_main.c", variant: runs).build()
    let traced = try TracedRun(program, [plugin], environment: ["LD_PRELOAD": early])
    #expect(traced.result.ending == .exit(3))
    #expect(traced.result.output == "sum 8\n")
    #expect(
      traced.result.standardError.contains(
        "\(program): its code may run already: it was loaded before it could be patched safely"))
    #expect(
      traced.calls == ["plugin_begin": 1, "plugin_enter": 1, "plugin_leaf": 4, "plugin_end": 1])
    // Where no thread is early all of it is traced.
    let usual = try TracedRun(program, [plugin])
    #expect(usual.calls["main"] == 1 && usual.calls["late_work"] == 1)
  }

  @Test("Of two agents in one process the second does nothing")
  func twoAgents() throws {
    let (program, plugin) = try build()
    let second = try TemporaryFolder.shared.fresh("second") + "/agent.so"
    try ProgramFile.copy(AgentFileTests.agent, to: second)
    for mode in ["full-mask", "forks"] {
      let plain = try runChild(program, [mode, plugin])
      let traced = try TracedRun(program, [mode, plugin], environment: ["LD_PRELOAD": second])
      #expect(traced.result.ending == .exit(3))
      #expect(traced.result.output == plain.output)
      for (name, count) in statedCalls(plain.output) {
        #expect(traced.calls[name] == count, "\(name)")
      }
      // One line: the closing one.
      let lines = traced.result.standardError.split(separator: "\n")
      #expect(lines.count == 1, "\(lines)")
    }
  }
}
