// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Audit
import CommandOutput
import Glibc
import Recorder
import TextFormat
import Visits

/// `nopscope attach`, once its arguments are parsed.
struct AttachRun {
  let settings: RecordSettings
  let process: Int32

  func run() throws {
    let clock = TraceClock()
    var options = try settings.options()
    // The recording ends then, and not only what is recorded.
    let duration = options.triggers.durationNanoseconds
    options.triggers.durationNanoseconds = nil
    let run: AttachedRun
    do {
      let agent = try foundAgent()
      run = try AttachedRun(
        process, agent: agent, output: settings.output, options: options, duration: duration,
        source: SiteSource(cache: .standard(environment: environment)), clock: clock)
      run.server.whenSnapshot = { snapshot in
        for line in snapshotTexts(snapshot, most: options.snapshots.most) { complain(line) }
      }
      try run.run(begun: {
        if !settings.isQuiet, duration == nil { complain("recording: press Ctrl-C to end it") }
      })
    } catch let error as ExitCode {
      throw error
    } catch {
      complain("\(error)")
      throw ExitCode(125)
    }
    let name = run.server.tracedProgram ?? "process \(process)"
    RecordSummary(image: name, server: run.server, isQuiet: settings.isQuiet).print()
    var isLeft = !run.failures.isEmpty
    for line in run.failures { complain(line) }
    for report in run.detached {
      let begun = report.process == process ? run.attached : nil
      if !tell(report, begun: begun, isQuiet: settings.isQuiet) { isLeft = true }
    }
    if settings.requiresSites, run.server.moduleTotals.armed == 0 {
      complain("--require-sites: no function could be traced")
      throw ExitCode(125)
    }
    if isLeft { throw ExitCode(1) }
  }
}

/// `nopscope detach`.
func detach(_ process: Int32) throws {
  let report: DetachReport
  do {
    report = try DetachReport.make(process, agent: foundAgent())
  } catch let error as ExitCode {
    throw error
  } catch {
    complain("\(error)")
    throw ExitCode(125)
  }
  if !tell(report, isQuiet: false) { throw ExitCode(1) }
}

private func foundAgent() throws -> String {
  guard let agent = AgentLibrary.find() else {
    complain("\(AgentLibrary.name): expected it beside nopscope or in ../lib/nopscope, found none")
    throw ExitCode(125)
  }
  return agent
}

/// Says what a process is now; whether it is as it was. The audit looks by itself.
private func tell(
  _ report: DetachReport, begun: VisitOutcome? = nil, isQuiet: Bool
) -> Bool {
  let who = "process \(report.process)"
  var isClean = true
  if report.left > 0 {
    complain("\(who): \(counted(report.left, "call site")) could not be put back")
    isClean = false
  }
  if report.keptReturns > 0 {
    complain(
      "\(who): \(counted(report.keptReturns, "call")) on stacks that no thread runs on will return "
        + "through a trampoline, which stays for them")
    isClean = false
  }
  if !report.isQuiet {
    complain(
      "\(who): a thread is still in the agent's code, which stays as it is: nopscope detach "
        + "\(report.process) tries again")
    isClean = false
  }
  guard let audit = try? auditText(of: report.process) else { return isClean }
  let differing = audit.unknownDifferences.reduce(0) { $0 + $1.liveBytes.count }
  if differing > 0 || !isQuiet {
    var line = "\(who): \(grouped(report.restored)) sites put back, "
    line +=
      "\(grouped(differing)) byte\(differing == 1 ? " differs" : "s differ") from its files; stopped for "
    if let begun {
      let stopped = begun.stoppedNanoseconds + begun.allStoppedNanoseconds
      line += "\(milliseconds(stopped)) at the beginning and "
    }
    line += "\(milliseconds(report.stoppedNanoseconds)) at the end"
    write(neutralised(line) + "\n", to: 2)
  }
  return isClean && differing == 0
}

private func milliseconds(_ nanoseconds: UInt64) -> String {
  let hundredths = (nanoseconds + 5_000) / 10_000
  let rest = hundredths % 100
  return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest) ms"
}
