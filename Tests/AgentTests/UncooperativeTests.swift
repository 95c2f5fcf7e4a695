// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// A program of Programs/, its arguments, and the options that it is recorded with.
struct UncooperativeCase: Sendable, CustomStringConvertible {
  var source: String
  var words: [String] = []
  var options: [String] = []
  var environment: [String: String] = [:]
  /// Calls that the recording must have.
  var isCounted = true
  var description: String { ([source] + words + options + environment.keys).joined(separator: " ") }
}

private let programs = [
  UncooperativeCase(source: "tail_unwinds.cpp"), UncooperativeCase(source: "conventions.c"),
  UncooperativeCase(source: "fibers_outlive.c", words: ["5000"]),
  UncooperativeCase(source: "fiber_unmapped.c"),
  UncooperativeCase(source: "small_stack.c", words: ["512"]),
  UncooperativeCase(source: "moved_return.c"),
]

private let limitedPrograms = [
  UncooperativeCase(source: "conventions.c", options: ["--max-depth", "9"]),
  UncooperativeCase(source: "fiber_unmapped.c", options: ["--max-depth", "10"]),
  UncooperativeCase(source: "conventions.c", options: ["--start-on", "*"]),
  UncooperativeCase(source: "small_stack.c", words: ["512"], options: ["--start-on", "*"]),
  UncooperativeCase(
    source: "conventions.c", options: ["--overwrite", "64M", "--snapshot-on", "*>100s"]),
  UncooperativeCase(
    source: "tail_unwinds.cpp", options: ["--overwrite", "64M", "--snapshot-on", "*>100s"]),
  UncooperativeCase(source: "fiber_unmapped.c", options: ["--threshold", "1us"], isCounted: false),
  UncooperativeCase(
    source: "fiber_unmapped.c", environment: ["GLIBC_TUNABLES": "glibc.pthread.rseq=0"]),
]

/// Programs that use the machine in ways that are allowed and that a tracer might not expect.
@Suite struct UncooperativeTests {
  private func check(_ one: UncooperativeCase, _ manner: Manner) throws {
    let program = try Program(source: one.source, variant: manner.variant).build()
    let plain = try runChild(program, one.words)
    #expect(plain.ending == .exit(0))
    let traced = try TracedRun(
      program, one.words, options: manner.options + one.options, environment: one.environment)
    #expect(traced.result.ending == plain.ending)
    #expect(traced.result.output == plain.output)
    guard one.isCounted else { return }
    #expect(traced.recording.lostEvents == 0)
    for (name, count) in statedCalls(plain.output) {
      #expect(traced.calls[name] == count, "\(name)")
    }
  }

  @Test("They run as alone, and every call is counted", arguments: programs, Manner.some)
  func runsAsAlone(one: UncooperativeCase, manner: Manner) throws { try check(one, manner) }

  @Test("So they do with a limit for each call", arguments: limitedPrograms, Variant.some)
  func limited(one: UncooperativeCase, variant: Variant) throws {
    try check(one, Manner(variant: variant))
  }

  @Test(
    "A child in the same memory with its parent's thread-local storage: the calls of both are counted as lost",
    arguments: everyTracer)
  func sharedStorage(tracer: String) throws {
    let program = try Program(source: "shared_storage.c").build()
    let plain = try runChild(program)
    let traced = try TracedRun(program, options: ["--tracer", tracer])
    #expect(traced.result.ending == .exit(0))
    #expect(traced.result.output == plain.output)
    // 600,000 calls of each of the two.
    #expect(traced.recording.lostEvents >= 1_200_000)
    #expect(traced.result.standardError.contains("(CLONE_VM without CLONE_SETTLS)"))
    #expect(traced.calls["main"] == 1)
  }

  @Test("A constructor waits for its thread, and the thread names itself")
  func namesItself() throws {
    let program = try Program(source: "names_itself.c").build()
    let library = try Program(
      source: "names_itself.c", extra: ["-shared", "-fPIC", "-DLIBRARY"]
    ).build()
    let traced = try TracedRun(program, [library], timeoutSeconds: 20)
    #expect(traced.result.ending == .exit(0))
    #expect(traced.result.output == "loaded: yes\n")
    #expect(traced.calls["work"] == 1)
  }

  @Test("A cancellation that is pending in dlopen takes effect after it")
  func cancelledLoad() throws {
    let program = try Program(source: "cancelled_load.c").build()
    let libraries = try ["plugin.c", "one_name.c"].map {
      try Program(source: $0, extra: ["-shared", "-fPIC"]).build()
    }
    let plain = try runChild(program, libraries)
    let traced = try TracedRun(program, libraries, timeoutSeconds: 20)
    #expect(plain.output == "dlopen returned: 1, cancelled: 1\nanother load: 1\n")
    #expect(traced.result.output == plain.output)
  }

  @Test("fork beside dlopen and dlclose, with an allocator that holds its lock across a fork")
  func heapForks() throws {
    let program = try Program(source: "heap_forks.c").build()
    let library = try Program(source: "plugin.c", extra: ["-shared", "-fPIC"]).build()
    let traced = try TracedRun(program, [library, "60"], timeoutSeconds: 30)
    #expect(traced.result.ending == .exit(0))
    #expect(traced.result.output.hasPrefix("bad 0 "))
    #expect((traced.calls["load"] ?? 0) >= 60)
  }

  @Test(
    "A function that hands over its return address to dlopen or dlsym does so under trace",
    arguments: Variant.all)
  func looksAtCaller(variant: Variant) throws {
    let library = try Program(source: "one_name.c", extra: ["-shared", "-fPIC"]).build()
    var build = Program(source: "looks_at_caller.c", variant: variant)
    let folder = try TemporaryFolder.shared.fresh("runpath")
    try ProgramFile.copy(library, to: folder + "/libby_runpath.so")
    build.extra = ["-Wl,--enable-new-dtags", "-Wl,-rpath,\(folder)"]
    let program = try build.build()
    let plain = try runChild(program)
    #expect(plain.output == "RUNPATH found, RTLD_NEXT 1 1 1, modules 1, caller 1\n")
    for tracer in ["function_graph", "profile"] {
      let traced = try TracedRun(program, options: ["--tracer", tracer])
      #expect(traced.result.output == plain.output)
      for name in ["load", "next", "next_versioned", "each", "seldom", "caller"] {
        #expect(traced.calls[name] != nil, "\(name)")
      }
    }
  }

  /// libgcc unwinds: through assembly, C and trampolines.
  @Test(
    "A backtrace from every instruction of the agent reaches main",
    arguments: everyTracer, Variant.all)
  func everyInstruction(tracer: String, variant: Variant) throws {
    try checkSteps(["--tracer", tracer], variant)
  }

  @Test("So it does through the gate", arguments: [["--start-on", "*"], ["--duration", "100s"]])
  func everyInstructionOfTheGate(options: [String]) throws {
    for variant in Variant.some { try checkSteps(options, variant) }
  }

  private func checkSteps(_ options: [String], _ variant: Variant) throws {
    let program = try Program(source: "steps.c", variant: variant).build()
    let plain = try runChild(program)
    let traced = try TracedRun(program, options: options, timeoutSeconds: 30)
    #expect(traced.result.ending == .exit(0), "\(traced.result.standardError)")
    #expect(traced.result.output == plain.output)
    let line = traced.result.standardError.split(separator: "\n").first
    #expect(line == "steps 1, in the agent 1, main not reached 0")
  }

  /// The lower bounds that hold whatever the machine does: each function's own time is at least
  /// what it measured itself. A call that ended without returning would have none of it, its caller
  /// too much.
  @Test(
    "A call that an exception, longjmp or the thread's end ends has its own time",
    arguments: ["function_graph", "profile"], Variant.some)
  func unwoundTimes(tracer: String, variant: Variant) throws {
    let program = try Program(source: "unwound_times.cpp", variant: variant).build()
    let traced = try TracedRun(program, options: ["--tracer", tracer])
    let report = try jsonObject(
      try runNopscope(["report", "--json", traced.folder]).standardOutput)
    let rows = try #require(report["functions"] as? [[String: Any]])
    var own: [String: Int] = [:]
    for row in rows {
      if let name = row["function"] as? String { own[name] = row["selfNanoseconds"] as? Int }
    }
    let spent = traced.result.output.split(separator: "\n").map { $0.split(separator: " ") }
    #expect(spent.count == 6)
    for words in spent where words.count == 3 {
      let least = try #require(Int(words[2]))
      #expect(own[String(words[1])] ?? 0 >= least, "\(words[1])")
    }
  }

  @Test(
    "A program with a sanitizer starts and is recorded, and the sanitizer finds its bug",
    arguments: ["address", "undefined", "thread"])
  func sanitizers(kind: String) throws {
    var build = Program(source: "sanitized.c")
    build.extra = ["-fsanitize=\(kind)", "-g"]
    let program = try build.build()
    // Of the options that the user gave, none is lost.
    let options = ["ASAN_OPTIONS": "exitcode=33", "TSAN_OPTIONS": "exitcode=33"]
    for word in ["right", "wrong"] {
      let plain = try runChild(program, [word, kind], environment: options)
      let traced = try TracedRun(program, [word, kind], environment: options)
      #expect(traced.result.ending == plain.ending)
      #expect(traced.result.output == plain.output)
      let isFound = word == "wrong"
      #expect(plain.standardError.isEmpty != isFound)
      #expect(traced.result.standardError.contains("sanitized.c:") == isFound)
      #expect(traced.calls["leaf"] == 100)
    }
  }

  @Test("What a thread calls in its last destructors is the thread's")
  func lastDestructors() throws {
    let program = try Program(source: "destructors.c").build()
    let traced = try TracedRun(program)
    #expect(traced.result.ending == .exit(0))
    #expect(traced.calls["last_words"] == 3)
    #expect(traced.recording.processes.first?.threads.count == 2)
  }
}
