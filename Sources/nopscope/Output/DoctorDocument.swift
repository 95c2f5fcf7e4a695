// SPDX-License-Identifier: Apache-2.0

import Recorder
import Visits

/// The document of `doctor --json`.
struct DoctorDocument: Encodable {
  struct Writer: Encodable {
    var name: String
    var usable: Bool
    var reason: String?
  }
  struct Limit: Encodable {
    var name: String
    var value: UInt64?
  }
  struct Process: Encodable {
    var pid: Int32
    var threads, asleep, modules: Int
  }
  struct Module: Encodable {
    var path: String
    var buildID: String?
    var sites, skipped, entryOnly, returnAddressUsers: Int
    var forms, kinds: [String: Int]
    var names: String?
    var nameProblems: [String]
    var reason: String?
  }

  var kernel: String
  var ticksPerSecond: UInt64
  var ticksAreSteady, canSyncCores, hasShadowStack: Bool
  var writers: [Writer]
  var protocols, tracers: [String]
  var opensText: Bool
  var limits: [Limit]
  var agent, trampolines, program, refusal: String?
  /// One that can be attached to.
  var process: Process?
  var modules: [Module]
  var missing: [String]

  init(
    _ machine: MachineReport, _ report: ProgramReport?, _ refusal: String?,
    _ outlook: VisitOutlook?
  ) {
    process = outlook.map {
      Process(pid: $0.process, threads: $0.threads, asleep: $0.asleep, modules: $0.modules)
    }
    kernel = machine.kernel
    ticksPerSecond = machine.ticksPerSecond
    ticksAreSteady = machine.areTicksSteady
    canSyncCores = machine.canSyncCores
    hasShadowStack = machine.hasShadowStack
    writers = machine.writers.map {
      Writer(name: $0.name, usable: $0.isUsable, reason: $0.reason)
    }
    protocols = machine.protocols
    tracers = machine.tracers.map(\.rawValue)
    opensText = machine.opensText
    limits = machine.limits.map { Limit(name: $0.name, value: $0.value) }
    agent = AgentLibrary.find()
    trampolines = agent.flatMap(AgentLibrary.trampolines(beside:))
    program = report?.program.image
    self.refusal = refusal
    missing = report?.missing ?? []
    modules = (report?.modules ?? []).map { module in
      Module(
        path: module.path, buildID: module.buildID, sites: module.sites,
        skipped: module.skipped, entryOnly: module.entryOnly,
        returnAddressUsers: module.returnAddressUsers,
        forms: Dictionary(module.forms.map { ($0.name, $0.count) }) { $0 + $1 },
        kinds: Dictionary(module.kinds.map { ($0.name, $0.count) }) { $0 + $1 },
        names: module.names, nameProblems: module.nameProblems, reason: module.reason)
    }
  }
}
