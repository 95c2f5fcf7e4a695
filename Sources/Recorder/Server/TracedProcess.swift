// SPDX-License-Identifier: Apache-2.0

import CRecordingABI

/// A module of a traced process, from its coming to its end.
struct TracedModule {
  var message: AgentMessage.Module
  var firstFunction: UInt32
  var sites = 0
  var armed = 0
  var unwanted = 0
  var skipped: [SkippedCount] = []
  var plan = PlanRuns()
  var status = ApplyStatus.done
  /// The agent has yet to say what became of its plan.
  var isPending = false
  /// A forked child has it from its parent.
  var isInherited = false

  /// The name of its file in symbols/.
  var symbolsName: String

  init(message: AgentMessage.Module, firstFunction: UInt32) {
    self.message = message
    self.firstFunction = firstFunction
    symbolsName = Self.usualSymbolsName(message)
  }

  /// Its line in PID-N.modules.
  var line: String {
    let id = message.buildID
    // Said where it does not follow from the others.
    let isUsual = symbolsName == Self.usualSymbolsName(message)
    let symbols: [(String, JSONText)] = isUsual ? [] : [("symbols", .string(symbolsName))]
    let reasons = skipped.map { count in
      JSONText.object([("reason", .string(count.reason)), ("count", .number(count.count))])
    }
    return JSONText.object([
      (
        "load",
        .object(
          [
            ("generation", .number(message.generation)), ("path", .string(message.path)),
            ("buildID", id.isEmpty ? .null : .string(hexadecimal(id))),
            ("loadBias", .number(message.loadBias)), ("textStart", .number(message.textStart)),
            ("textEnd", .number(message.textEnd)), ("time", .number(message.time)),
            ("firstFunction", .number(firstFunction)), ("sites", .number(sites)),
            ("armed", .number(armed)), ("unwanted", .number(unwanted)),
            ("skipped", .number(skippedPlaces)), ("skippedReasons", .array(reasons)),
            ("status", .string(status)), ("plan", .string(plan.text)),
          ] + symbols)
      )
    ]).line
  }

  /// Places that looked like call sites and are none.
  var skippedPlaces: Int { skipped.reduce(0) { $0 + $1.count } }

  static func unloadLine(generation: UInt32, time: UInt64) -> String {
    let end: JSONText = .object([("generation", .number(generation)), ("time", .number(time))])
    return JSONText.object([("unload", end)]).line
  }

  /// A module without a build-id goes by its path.
  private static func usualSymbolsName(_ message: AgentMessage.Module) -> String {
    message.buildID.isEmpty
      ? "path-" + hexadecimal(fnv1a(message.path.utf8)) : hexadecimal(message.buildID)
  }
}

/// A process's event file, and the memory file that it fills first.
final class ProcessFiles {
  let events, memory: Descriptor

  init(events: consuming Descriptor, memory: consuming Descriptor) {
    self.events = events
    self.memory = memory
  }
}

/// A program image that an agent has said HELLO from.
final class TracedProcess {
  let process, parent: Int32
  let incarnation: UInt32
  let isFork: Bool
  let program: String
  /// By generation: those that are loaded.
  var modules: [UInt32: TracedModule] = [:]
  /// The highest generation it told of itself: they are never used again.
  var lastGeneration: UInt32 = 0
  var nextFunction: UInt32 = 0
  /// Nil: it has ended.
  var files: ProcessFiles?

  init(hello: nrec_hello, incarnation: UInt32, program: String) {
    process = hello.process
    parent = hello.parent
    isFork = hello.begin == UInt32(NREC_BEGIN_FORK)
    self.incarnation = incarnation
    self.program = program
  }

  var eventsName: String { "\(process)-\(incarnation).events" }
  var modulesName: String { "\(process)-\(incarnation).modules" }

  /// Its entry in session.json.
  var json: JSONText {
    .object([
      ("pid", .number(process)), ("incarnation", .number(incarnation)),
      ("parent", .number(parent)), ("begin", .string(isFork ? "fork" : "start")),
      ("program", .string(program)), ("events", .string(eventsName)),
      ("modules", .string(modulesName)),
    ])
  }
}
