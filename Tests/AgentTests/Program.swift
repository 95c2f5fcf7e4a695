// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport

/// One way to build a program so that its calls can be traced.
struct Variant: Hashable, Sendable, CustomStringConvertible {
  var compiler: Fixture.Compiler
  var level: String
  var instrumentation: [String]

  var description: String { ([compiler.rawValue, level] + instrumentation).joined(separator: " ") }

  static let kinds = [["-pg"], ["-pg", "-mfentry"], ["-fpatchable-function-entry=5"]]
  static let all = Fixture.Compiler.allCases.flatMap { compiler in
    ["-O0", "-O2"].flatMap { level in
      kinds.map { Variant(compiler: compiler, level: level, instrumentation: $0) }
    }
  }
  /// A selection: every kind and both compilers. All variants if NOPSCOPE_EVERY_VARIANT is set.
  static let some =
    ProcessInfo.processInfo.environment["NOPSCOPE_EVERY_VARIANT"] != nil
    ? all
    : [
      Variant(compiler: .gcc, level: "-O0", instrumentation: kinds[0]),
      Variant(compiler: .gcc, level: "-O2", instrumentation: kinds[1]),
      Variant(compiler: .clang, level: "-O2", instrumentation: kinds[0]),
      Variant(compiler: .gcc, level: "-O2", instrumentation: kinds[2]),
    ]
  static let usual = Variant(compiler: .gcc, level: "-O2", instrumentation: ["-pg"])
  static let fentry = Variant(compiler: .gcc, level: "-O2", instrumentation: kinds[1])
  static let clang = Variant(compiler: .clang, level: "-O2", instrumentation: kinds[1])
  static let patchable = Variant(compiler: .gcc, level: "-O2", instrumentation: kinds[2])
}

let everyTracer = ["function_graph", "function", "callgraph", "profile", "hits"]

/// How a program is built, and with which tracer it is recorded.
struct Manner: Hashable, Sendable, CustomStringConvertible {
  var variant = Variant.usual
  var tracer = everyTracer[0]

  var options: [String] { ["--tracer", tracer] }
  var description: String { "\(variant), \(tracer)" }

  /// Every tracer in the usual form and those that look at the caller with -mfentry too, and every form
  /// with the usual tracer. All pairs if
  /// NOPSCOPE_EVERY_VARIANT is set: see scripts/check-cases.
  static let some =
    ProcessInfo.processInfo.environment["NOPSCOPE_EVERY_VARIANT"] != nil
    ? Variant.all.flatMap { variant in everyTracer.map { Manner(variant: variant, tracer: $0) } }
    : everyTracer.map { Manner(tracer: $0) } + Variant.some.map { Manner(variant: $0) }
      // Where a site precedes the prologue, the frame pointer is the caller's.
      + ["function", "callgraph", "profile"].map { Manner(variant: .fentry, tracer: $0) }
}

/// A source file of Programs/, and how to build it.
struct Program: Hashable, Sendable {
  var source: String
  var variant = Variant.usual
  var extra: [String] = []

  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/Programs"

  func build() throws -> String { try ProgramCache.shared.built(self) }

  fileprivate func compile() throws -> String {
    let isPlusPlus = source.hasSuffix(".cpp")
    let tool: String? =
      switch (variant.compiler, isPlusPlus) {
      case (.gcc, false): Tools.find("gcc")
      case (.gcc, true): Tools.find("g++")
      case (.clang, false): Tools.findBesideSwift("clang")
      case (.clang, true): Tools.findBesideSwift("clang++")
      }
    guard let tool else { throw TestSupportError("\(variant.compiler): not found") }
    let stem = String(source.prefix { $0 != "." })
    let linked = try TemporaryFolder.shared.fresh("program") + "/" + stem
    try Tools.run(
      tool,
      ["-w", "-gdwarf-4", "-rdynamic", variant.level] + variant.instrumentation
        + ["\(Program.folder)/\(source)", "-o", linked, "-lm", "-ldl", "-pthread"] + extra)
    return linked
  }
}

private final class ProgramCache: @unchecked Sendable {
  static let shared = ProgramCache()
  private let lock = NSLock()
  private var done: [Program: Result<String, any Error>] = [:]

  func built(_ program: Program) throws -> String {
    try lock.withLock {
      let result = done[program] ?? Result { try program.compile() }
      done[program] = result
      return result
    }.get()
  }
}

/// A run under `nopscope record`, with the decoded recording.
struct TracedRun {
  var result: ChildResult
  var folder: String
  var recording: DecodedRecording

  init(
    _ program: String, _ arguments: [String] = [], options: [String] = [],
    environment: [String: String?] = [:], timeoutSeconds: Double = 60
  ) throws {
    folder = try TemporaryFolder.shared.fresh("recording") + "/data"
    result = try runNopscope(
      ["record"] + options + ["-o", folder, "--", program] + arguments, environment: environment,
      timeoutSeconds: timeoutSeconds)
    recording = try DecodedRecording(folder)
  }

  var calls: [String: Int] { recording.calls }
}

/// The calls that a program counts and prints itself, in lines `calls NAME NUMBER`.
func statedCalls(_ output: String) -> [String: Int] {
  var calls: [String: Int] = [:]
  for line in output.split(separator: "\n") {
    let words = line.split(separator: " ")
    if words.count == 3, words[0] == "calls", let count = Int(words[2]) {
      calls[String(words[1])] = count
    }
  }
  return calls
}
