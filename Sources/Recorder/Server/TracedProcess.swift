// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import RecordingSchema
import TextFormat
import Units

/// A module of a traced process, from its load to its unload or the process's end.
struct TracedModule {
  var message: AgentMessage.Module
  var firstFunction: UInt32
  var sites = 0
  var armed = 0
  var unwanted = 0
  var skipped: [SkippedReason] = []
  /// The text of what was chosen for each site.
  var plan = ""
  var status = ApplyStatus.done
  /// `status` is the report of an anomaly.
  var isAnomaly = false
  /// The agent has not reported yet whether it applied the plan.
  var isPending = false

  /// The name of its file in symbols/.
  var symbolsName: String

  init(message: AgentMessage.Module, firstFunction: UInt32) {
    self.message = message
    self.firstFunction = firstFunction
    symbolsName = Self.usualSymbolsName(message)
  }

  /// Its line in PID-N.modules.
  var load: ModuleLoad {
    var load = ModuleLoad(generation: Int(message.generation), path: message.path)
    load.buildID = message.buildID.isEmpty ? nil : hexDigits(message.buildID)
    load.loadBias = message.loadBias
    load.textStart = message.textStart
    load.textEnd = message.textEnd
    load.time = message.time
    load.firstFunction = UInt64(firstFunction)
    load.sites = sites
    load.armed = armed
    load.unwanted = unwanted
    load.skipped = skippedPlaces
    load.skippedReasons = skipped
    load.status = status
    load.isAnomaly = isAnomaly
    load.plan = plan
    // A reader knows the usual name: only another one is written.
    load.symbols = symbolsName == Self.usualSymbolsName(message) ? nil : symbolsName
    return load
  }

  /// Places that looked like call sites and are none.
  var skippedPlaces: Int { skipped.reduce(0) { $0 + $1.count } }

  /// A module without a build-id is identified by its path.
  private static func usualSymbolsName(_ message: AgentMessage.Module) -> String {
    message.buildID.isEmpty
      ? "path-" + hexDigits(fnv1a(message.path.utf8), width: 16) : hexDigits(message.buildID)
  }
}

/// A program image that an agent has said HELLO from.
final class TracedProcess {
  let process, parent: Int32
  let incarnation: UInt32
  let isFork: Bool
  let program: String
  /// When it joined; empty where they could not be read.
  let arguments: [String]
  /// As its HELLO says.
  let startTime: ClockUnits
  /// By generation: those that are loaded.
  var modules: [UInt32: TracedModule] = [:]
  /// Those that were unloaded last: a child that was forked before has them still.
  var unloaded = UnloadedModules()
  /// Of a forked child, until it has named its modules: whose copy it is, and what it has named.
  var copied: TracedProcess?
  var inherited: [UInt32] = []
  /// What its copies have said before it has named its own modules, by which theirs are known.
  var postponed: [(from: TracedProcess, messages: [AgentMessage?])] = []

  /// Makes the type of `modules`, before an agent waits for it.
  static func prepare() {
    var modules: [UInt32: TracedModule] = [:]
    modules.reserveCapacity(RecordServer.usualCount)
  }

  /// The highest generation that the process itself reported: none is used twice.
  var lastGeneration: UInt32 = 0
  /// The highest that it or the process that it is a copy of reported.
  var highestGeneration: UInt32 = 0
  var nextFunction: UInt32 = 0
  /// In the arena. Nil: it has ended.
  var place: Arena.Place?
  /// It has broken the protocol: its messages are not read any more.
  var isRefused = false
  /// It ended so long ago that its modules are not known any more.
  private(set) var isForgotten = false

  /// `copied`: whose copy it is; nil: a fresh image.
  init(
    process: Int32, parent: Int32, startTime: ClockUnits, incarnation: UInt32, program: String,
    arguments: [String] = [], copied: TracedProcess? = nil, isFork: Bool = false
  ) {
    self.process = process
    self.parent = parent
    self.startTime = startTime
    self.incarnation = incarnation
    self.program = program
    self.arguments = arguments
    self.isFork = isFork
    self.copied = copied
    if let copied {
      nextFunction = copied.nextFunction
      highestGeneration = copied.highestGeneration
    }
  }

  var image: ImageName { ImageName(pid: process, incarnation: incarnation) }

  /// Drops what only a forked child that joins late would need.
  func forget() {
    modules = [:]
    unloaded = UnloadedModules()
    isForgotten = true
  }

  /// Its line in `processes`.
  var session: Session.Process {
    var line = Session.Process(
      image: image, parent: parent, program: program, begin: isFork ? .fork : .start)
    line.arguments = arguments.isEmpty ? nil : arguments
    return line
  }
}

/// The modules that a process unloaded last, by generation; older ones are dropped.
struct UnloadedModules {
  private var modules: [UInt32: TracedModule] = [:]
  private var order: [UInt32] = []
  /// Where the oldest is, once there are as many as are kept.
  private var oldest = 0

  /// How many are kept.
  static let kept = 4096

  subscript(generation: UInt32) -> TracedModule? { modules[generation] }

  mutating func add(_ module: TracedModule) {
    let generation = module.message.generation
    modules[generation] = module
    if order.count < Self.kept {
      order.append(generation)
      return
    }
    modules[order[oldest]] = nil
    order[oldest] = generation
    oldest = (oldest + 1) % Self.kept
  }
}

/// The processes that ended last. A child of theirs that makes its first traced call only now needs
/// their modules; those of processes that ended before them are dropped.
struct EndedProcesses {
  private var processes: [TracedProcess] = []
  /// Where the oldest is, once there are as many as are kept.
  private var oldest = 0

  /// How many keep their modules.
  static let kept = 4096

  mutating func add(_ process: TracedProcess) {
    if processes.count < Self.kept {
      processes.append(process)
      return
    }
    processes[oldest].forget()
    processes[oldest] = process
    oldest = (oldest + 1) % Self.kept
  }
}
