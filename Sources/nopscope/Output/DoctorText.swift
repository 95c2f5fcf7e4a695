// SPDX-License-Identifier: Apache-2.0

import Recorder
import TextFormat
import Visits

/// The report as text: one finding a line.
struct DoctorText {
  let machine: MachineReport
  let program: ProgramReport?
  var outlook: VisitOutlook?

  var text: String { lines.map { neutralised($0) + "\n" }.joined() }

  private var lines: [String] {
    var lines = machineLines
    if program != nil || outlook != nil { lines.append("") }
    if let outlook {
      lines.append(
        "yes  process \(outlook.process) can be attached to: \(counted(outlook.threads, "thread")), "
          + "\(grouped(outlook.asleep)) asleep; \(counted(outlook.modules, "module"))")
    }
    guard let program else { return lines }
    for module in program.modules { lines += Self.lines(of: module) }
    for name in program.missing { lines.append("no   \(name): the loader does not find it") }
    let count = program.sites
    lines.append(
      "\(counted(count, "site")) can be traced; libraries that the program opens later are looked "
        + "at when they are loaded")
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
        lines.append("note limit of \(limit.name): \(grouped(value))")
      }
    }
    return lines + Self.agentLines
  }

  private static var agentLines: [String] {
    guard let agent = AgentLibrary.find() else {
      return ["no   agent: libNopscopeAgent.so is neither beside nopscope nor in ../lib/nopscope"]
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
    if module.entryOnly > 0 { text += ", \(grouped(module.entryOnly)) with their entry only" }
    if module.returnAddressUsers > 0 {
      text +=
        " (\(grouped(module.returnAddressUsers)) of them look at their return address, or end in a "
        + "call of dlopen, dlsym or the like, which does)"
    }
    let names = module.names.map { ["note names: \($0)"] } ?? []
    return [text] + names + module.nameProblems.map { "no   \($0)" }
  }
}
