// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import RecordingSchema
import TextFormat
import TraceAnalysis
import Units

/// The lines of `nopscope info`.
func infoText(_ recording: Recording, _ report: CallCount) -> String {
  var lines: [(String, String)] = [
    ("command", recording.session.command.joined(separator: " ")),
    ("tracer", tracerName(of: recording) ?? "?"),
    ("recorded", optionsText(recording.session.options)),
    ("calls", (report.isEstimated ? "about " : "") + grouped(report.calls)),
    (
      "bytes",
      grouped(recording.bytes) + " of events, "
        + fixed(bytesPerCall(recording, report), 2) + " a call"
    ),
    ("lost", lostText(report, recording)),
    ("damage", report.isCorrupted ? "yes" : "none"),
  ]
  lines += recording.session.missing.map { ("missing", missingLine($0)) }
  lines += recording.notes.map { ("note", $0) }
  for process in recording.processes { lines += processLines(process) }
  let width = lines.map(\.0.count).max() ?? 0
  return lines.map { name, value in
    name.leftAligned(in: width) + "  " + neutralised(value) + "\n"
  }.joined()
}

/// `0 events`, or `0 events, 2 processes missing`.
private func lostText(_ report: CallCount, _ recording: Recording) -> String {
  let missing = recording.session.missing.count
  let events = "\(grouped(report.lostEvents)) events"
  if missing == 0 { return events }
  return events + ", " + counted(missing, "process", plural: "processes") + " missing"
}

private func missingLine(_ process: MissingProcess) -> String {
  "process \(process.pid) \(process.program ?? "?"): \(process.reason)"
}

/// What was to be recorded, as the command line had it.
private func optionsText(_ options: Session.Options) -> String {
  guard options.filter != nil else { return "?" }  // an older recording, without its options
  var parts: [String] = []
  let rules = [
    ("--filter", options.filter), ("--notrace", options.notrace), ("--graph", options.graph),
    ("--thread", options.threads), ("--start-on", options.startOn), ("--stop-on", options.stopOn),
  ]
  for (name, texts) in rules { parts += (texts ?? []).map { "\(name) '\($0)'" } }
  if let depth = options.maximumDepth, depth > 0 { parts.append("--max-depth \(depth)") }
  if let least = options.thresholdNanoseconds, least > 0 { parts.append("--threshold \(least)ns") }
  parts += (options.arguments ?? []).map { "--args '\($0)'" }
  if let condition = options.snapshotOn { parts.append("--snapshot-on '\(condition)'") }
  for (name, time) in [
    ("--delay", options.delayNanoseconds), ("--duration", options.durationNanoseconds),
  ] {
    if let time { parts.append("\(name) \(time)ns") }
  }
  if let bytes = options.overwriteBytes { parts.append("--overwrite \(bytes)") }
  return parts.isEmpty ? "everything" : parts.joined(separator: " ")
}

/// What the anomaly was that turned the tracer of a process off; nil: there was none, or the recording does
/// not say. Not safe for a terminal as it is.
func anomalyText(_ process: ProcessRecording) -> String? {
  guard process.isMarkedCorrupted else { return nil }
  if let module = process.modules.first(where: \.isAnomaly) {
    return "\(module.path): \(module.status)"
  }
  return process.hasLostReturn
    ? "a function returned, and where to was not known, so that the program was ended" : nil
}

private func processLines(_ process: ProcessRecording) -> [(String, String)] {
  var state: [String] = [counted(process.threads.count, "thread")]
  if process.endTime > process.startTime {
    let time = process.nanoseconds(ofUnits: process.endTime - process.startTime)
    state.append(durationText(time))
  }
  if !process.hasEnded {
    state.append("not closed: it ended by _exit, exec or a signal, or still runs")
  }
  if process.isFull { state.append("out of space: later events were only counted") }
  if process.hasSharedThread {
    state.append("a clone(2) child used a thread's storage: later events were only counted")
  }
  if process.isConfined {
    state.append("its system call filter forbids patching: what it loaded later is not traced")
  }
  if process.hasThreadWithoutClock {
    state.append("a thread may not read the time stamp counter: its later events were only counted")
  }
  if process.lostChunks > 0 {
    state.append(
      "\(grouped(process.lostChunks)) chunks of events were lost: no space")
  }
  if process.isMarkedCorrupted {
    let what = anomalyText(process).map { ": \($0)" } ?? ""
    state.append("stopped by an anomaly\(what): events may be missing")
  }
  if process.isOverwriting { state.append("flight recorder") }
  if process.waits > 0 {
    let time = durationText(process.waitNanoseconds)
    state.append("waited \(counted(process.waits, "time")) for the disk, \(time)")
  }
  let command = commandText(process.program ?? "?", process.arguments)
  let name = "\(process.pid)-\(process.incarnation) \(command)"
  var lines = [("process", "\(name): \(state.joined(separator: ", "))")]
  for (module, loads) in merged(process.modules) {
    lines.append(("module", moduleText(module, loads: loads)))
  }
  return lines
}

/// Loads of one file of which is said the same are one line, at its first load.
private func merged(_ modules: [RecordedModule]) -> [(RecordedModule, loads: Int)] {
  var lines: [(module: RecordedModule, loads: Int)] = []
  var places: [String: Int] = [:]
  for module in modules {
    let key = moduleText(module, loads: 0)
    if let place = places[key] {
      lines[place].loads += 1
    } else {
      places[key] = lines.count
      lines.append((module, 1))
    }
  }
  return lines
}

/// `/bin/x: 40 sites, 32 armed, 5 not wanted, 3 not armed (REASON), 2 skipped (2 REASON), …`.
private func moduleText(_ module: RecordedModule, loads: Int) -> String {
  let counts = StateCounts(module)
  var text = "\(module.path): \(counted(module.sites, "site")), \(grouped(module.armed)) armed, "
  if counts.unwanted > 0 { text += "\(grouped(counts.unwanted)) not wanted, " }
  if counts.notArmed > 0 { text += "\(grouped(counts.notArmed)) not armed, " }
  if counts.unknown > 0 { text += "\(grouped(counts.unknown)) not armed or not wanted, " }
  text += "\(grouped(module.skipped)) skipped"
  let reasons = module.skippedReasons.map { "\(grouped($0.count)) \($0.reason)" }
  if !reasons.isEmpty { text += " (\(reasons.joined(separator: "; ")))" }
  if loads == 1 { text += ", generation \(module.generation)" }
  if loads > 1 { text += ", \(grouped(loads)) loads" }
  text += ", build-id \(module.buildID ?? "none")"
  if module.unloadTime != nil { text += ", unloaded" }
  if module.armed == 0, !module.status.isEmpty, module.status != "ok" {
    text += "; \(module.status)"
  }
  return text
}
