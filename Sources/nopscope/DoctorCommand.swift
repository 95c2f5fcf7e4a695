// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import FoundationEssentials
import Glibc
import Recorder
import TextFormat

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Say what this machine and a program allow to be traced.",
    discussion: """
      Probes how text can be written and patched here, and lists the call sites of a program and \
      of the libraries that the loader brings with it. Nothing of the program runs.

      EXAMPLES
        nopscope doctor
        nopscope doctor ./program
        nopscope doctor ./program --json | jq '.modules[].reason'

      EXIT STATUS
        0  tracing works here, and the program has call sites
        1  it does not, or it has none
        64 the command line is wrong
      """)

  @Argument(help: "A program: a path, or a name in PATH.", completion: .file())
  var program: String?

  @Flag(help: "Write one JSON document, schema nopscope.doctor/1.")
  var json = false

  func run() throws {
    let machine = MachineReport()
    var report: ProgramReport?
    var refusal: String?
    if let program {
      do {
        let target = try TargetProgram(program, searchPath: environment("PATH"))
        report = try ProgramReport(target)
      } catch {
        refusal = "\(error)"
      }
    }
    if json {
      try DoctorDocument(machine, report, refusal).print()
    } else {
      let lines = DoctorText(machine: machine, program: report).lines
      write(lines.map { neutralised($0) + "\n" }.joined(), to: 1)
    }
    if let refusal { complain(refusal) }
    let isTraceable = report.map { $0.sites > 0 && $0.missing.isEmpty } ?? (refusal == nil)
    if machine.protocols.isEmpty || !isTraceable { throw ExitCode(1) }
  }
}

/// The report as text: one finding a line.
private struct DoctorText {
  let machine: MachineReport
  let program: ProgramReport?

  var lines: [String] {
    var lines = machineLines
    guard let program else { return lines }
    lines.append("")
    for module in program.modules { lines += Self.lines(of: module) }
    for name in program.missing { lines.append("no   \(name): the loader does not find it") }
    let count = program.sites
    lines.append(
      "\(grouped(count)) site\(count == 1 ? "" : "s") can be traced; libraries that the program "
        + "opens itself are treated as they come")
    return lines
  }

  private var machineLines: [String] {
    var lines = ["yes  Linux \(machine.kernel), x86-64"]
    let mega = machine.ticksPerSecond / 1_000_000
    lines.append(
      machine.areTicksSteady
        ? "yes  time stamp counter: \(grouped(Int(mega))) MHz, steady"
        : "no   time stamp counter: its rate changes (CPUID): times are approximate")
    for writer in machine.writers {
      lines.append(
        writer.reason.map { "no   writing text with \(writer.name): \($0)" }
          ?? "yes  writing text with \(writer.name)")
    }
    if !machine.protocols.isEmpty {
      lines.append(
        machine.opensText
          ? "note text is writable and executable while a transaction writes it with mprotect, and "
            + "at no other time"
          : "note no executable memory is ever writable: text is written with /proc/self/mem")
    }
    lines.append(
      machine.canSyncCores
        ? "yes  patching beside running threads (membarrier SYNC_CORE)"
        : "no   membarrier SYNC_CORE: threads are stopped to patch")
    lines.append(
      machine.hasShadowStack
        ? "no   returns: a CET shadow stack is on: only the tracers "
          + machine.tracers.map(\.rawValue).joined(separator: ", ") + " can run"
        : "yes  returns can be hooked (no CET shadow stack)")
    for limit in machine.limits {
      if let value = limit.value {
        lines.append("note limit of \(limit.name): \(grouped(Int(clamping: value)))")
      }
    }
    return lines + Self.agentLines
  }

  private static var agentLines: [String] {
    guard let agent = AgentLibrary.find() else {
      return ["no   agent: libNopscopeAgent.so is neither beside nopscope nor in ../lib"]
    }
    let trampolines = AgentLibrary.trampolines(beside: agent)
    return [
      "yes  agent: \(agent)",
      trampolines.map { "yes  trampolines: \($0)" }
        ?? "no   trampolines: libNopscopeTrampolines.so is not beside the agent: no return is hooked, "
        + "calls are recorded without times",
    ]
  }

  private static func lines(of module: ProgramReport.Module) -> [String] {
    if let reason = module.reason { return ["no   \(module.path): \(reason)"] }
    let forms = module.forms.map { "\(grouped($0.count)) \($0.name)" }.joined(separator: ", ")
    let kinds = module.kinds.map(\.name).joined(separator: ", ")
    var text = "yes  \(module.path): \(grouped(module.sites)) sites (\(kinds): \(forms))"
    if module.skipped > 0 { text += ", \(grouped(module.skipped)) skipped" }
    if module.entryOnly > 0 { text += ", \(grouped(module.entryOnly)) by their entry only" }
    return [text]
  }
}

/// A value of JSON that is null where it is missing: a synthesised encoder would leave it out.
private struct OrNull<Value: Encodable>: Encodable {
  var value: Value?

  init(_ value: Value?) { self.value = value }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let value { try container.encode(value) } else { try container.encodeNil() }
  }
}

/// The document of `doctor --json`.
private struct DoctorDocument: Encodable {
  struct Writer: Encodable {
    var name: String
    var usable: Bool
    var reason: OrNull<String>
  }
  struct Limit: Encodable {
    var name: String
    var value: OrNull<UInt64>
  }
  struct Module: Encodable {
    var path: String
    var buildID: OrNull<String>
    var sites, skipped, entryOnly: Int
    var forms, kinds: [String: Int]
    var reason: OrNull<String>
  }

  var schema = "nopscope.doctor/1"
  var kernel: String
  var ticksPerSecond: UInt64
  var ticksAreSteady, canSyncCores, hasShadowStack: Bool
  var writers: [Writer]
  var protocols, tracers: [String]
  var opensText: Bool
  var limits: [Limit]
  var agent, trampolines, program, refusal: OrNull<String>
  var modules: [Module]
  var missing: [String]

  init(_ machine: MachineReport, _ report: ProgramReport?, _ refusal: String?) {
    kernel = machine.kernel
    ticksPerSecond = machine.ticksPerSecond
    ticksAreSteady = machine.areTicksSteady
    canSyncCores = machine.canSyncCores
    hasShadowStack = machine.hasShadowStack
    writers = machine.writers.map {
      Writer(name: $0.name, usable: $0.isUsable, reason: OrNull($0.reason))
    }
    protocols = machine.protocols
    tracers = machine.tracers.map(\.rawValue)
    opensText = machine.opensText
    limits = machine.limits.map { Limit(name: $0.name, value: OrNull($0.value)) }
    agent = OrNull(AgentLibrary.find())
    trampolines = OrNull(AgentLibrary.find().flatMap(AgentLibrary.trampolines(beside:)))
    program = OrNull(report?.program.image)
    self.refusal = OrNull(refusal)
    missing = report?.missing ?? []
    modules = (report?.modules ?? []).map { module in
      Module(
        path: module.path, buildID: OrNull(module.buildID), sites: module.sites,
        skipped: module.skipped, entryOnly: module.entryOnly,
        forms: Dictionary(module.forms.map { ($0.name, $0.count) }) { $0 + $1 },
        kinds: Dictionary(module.kinds.map { ($0.name, $0.count) }) { $0 + $1 },
        reason: OrNull(module.reason))
    }
  }

  func print() throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    write(String(decoding: try encoder.encode(self), as: UTF8.self) + "\n", to: 1)
  }
}
