// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import RecordingReader
import RecordingSchema
import TextFormat
import TraceAnalysis

struct InfoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "info",
    abstract: "Say what a recording holds, and what it lacks.",
    discussion: """
      Command, tracer, processes, threads and modules; calls and the bytes they take; what was lost, \
      is damaged or was never closed. A module's call sites are armed, not wanted by any rule, or \
      could not be armed; what only looked like a call site was skipped: with the reasons.

      EXAMPLES
        nopscope info
        nopscope info build.data --json | jq .bytesPerCall

      EXIT STATUS
        0  the recording was read, be it in parts: stderr says what is damaged
        1  it cannot be read
        64 the command line is wrong
      """)

  @Argument(help: "A recording's directory.", completion: .directory)
  var directory = defaultRecording

  @Flag(help: "Write one JSON document, schema nopscope.info/1.")
  var json = false

  func run() throws {
    let opened: Recording
    do {
      opened = try Recording(directory: directory)
    } catch {
      complain("\(error)")
      throw ExitCode(1)
    }
    let progress = Progress("reading \(directory)")
    let report = Report(of: opened, progress: progress.show)
    progress.finish()
    if json {
      write(try infoJSON(opened, report) + "\n", to: 1)
    } else {
      write(infoText(opened, report), to: 1)
    }
    complainOf(report.problems, in: directory)
  }
}

/// The document `nopscope.info/1`.
private struct InfoDocument: Encodable {
  struct Module: Encodable {
    var record: ModuleRecord

    enum CodingKeys: CodingKey {
      case path, buildID, generation, sites, armed, unwanted, notArmed, unknown, skipped
      case skippedReasons, status
    }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(record.path, forKey: .path)
      try container.encode(record.buildID, forKey: .buildID)
      try container.encode(record.generation, forKey: .generation)
      try container.encode(record.sites, forKey: .sites)
      try container.encode(record.armed, forKey: .armed)
      let counts = StateCounts(record)
      try container.encode(counts.unwanted, forKey: .unwanted)
      try container.encode(counts.notArmed, forKey: .notArmed)
      try container.encode(counts.unknown, forKey: .unknown)
      try container.encode(record.skipped, forKey: .skipped)
      try container.encode(record.skippedReasons, forKey: .skippedReasons)
      try container.encode(record.status, forKey: .status)
    }
  }

  var schema = "nopscope.info/1"
  var calls: UInt64
  var bytes: UInt64
  var bytesPerCall: Double
  var lostEvents: UInt64
  var corrupted: Bool
  var modules: [Module]
}

private func bytesPerCall(_ recording: Recording, _ report: Report) -> Double {
  report.calls > 0 ? Double(recording.bytes) / Double(report.calls) : 0
}

private func infoJSON(_ recording: Recording, _ report: Report) throws -> String {
  try jsonText(
    InfoDocument(
      calls: report.calls, bytes: recording.bytes,
      bytesPerCall: bytesPerCall(recording, report), lostEvents: report.lostEvents,
      corrupted: report.isCorrupted,
      modules: recording.processes.flatMap(\.modules).map(InfoDocument.Module.init)))
}

private func infoText(_ recording: Recording, _ report: Report) -> String {
  let tracer = recording.processes.compactMap(\.tracer).first?.name ?? recording.session.tracerName
  var lines: [(String, String)] = [
    ("command", recording.session.command.joined(separator: " ")),
    ("tracer", tracer ?? "?"),
    ("recorded", optionsText(recording.session.options)),
    ("calls", grouped(Int(clamping: report.calls))),
    (
      "bytes",
      grouped(Int(clamping: recording.bytes)) + " of events, "
        + hundredths(bytesPerCall(recording, report)) + " a call"
    ),
    ("lost", grouped(Int(clamping: report.lostEvents)) + " events"),
    ("damage", report.isCorrupted ? "yes" : "none"),
  ]
  lines += recording.notes.map { ("note", $0) }
  for process in recording.processes { lines += processLines(process) }
  let width = lines.map(\.0.count).max() ?? 0
  return lines.map { name, value in
    name + String(repeating: " ", count: width - name.count) + "  " + neutralised(value) + "\n"
  }.joined()
}

/// What was to be recorded, as the command line had it.
private func optionsText(_ options: Session.Options) -> String {
  guard options.filter != nil else { return "?" }  // older than the options in it
  var parts: [String] = []
  let rules = [
    ("--filter", options.filter), ("--notrace", options.notrace), ("--graph", options.graph),
    ("--thread", options.threads),
  ]
  for (name, texts) in rules { parts += (texts ?? []).map { "\(name) '\($0)'" } }
  if let depth = options.maximumDepth, depth > 0 { parts.append("--max-depth \(depth)") }
  if let least = options.thresholdNanoseconds, least > 0 { parts.append("--threshold \(least)ns") }
  if let bytes = options.overwriteBytes { parts.append("--overwrite \(bytes)") }
  return parts.isEmpty ? "everything" : parts.joined(separator: " ")
}

private func processLines(_ process: ProcessRecording) -> [(String, String)] {
  var state: [String] = [counted(process.threads.count, "thread")]
  if process.endTime > process.startTime {
    let time = process.nanoseconds(ofUnits: process.endTime - process.startTime)
    state.append(durationText(time))
  }
  if !process.hasEnded { state.append("not closed: ended by _exit, exec or a signal, or runs on") }
  if process.isFull { state.append("out of space: the rest was only counted") }
  if process.lostChunks > 0 {
    state.append(
      "\(grouped(Int(clamping: process.lostChunks))) chunks of events lost for want of space")
  }
  if process.isMarkedCorrupted { state.append("stopped by an anomaly: events may be missing") }
  if process.isOverwriting { state.append("flight recorder") }
  if process.waits > 0 {
    let time = durationText(Int(clamping: process.waitNanoseconds))
    state.append("waited \(counted(Int(clamping: process.waits), "time")) for the disk, \(time)")
  }
  let name = "\(process.pid)-\(process.incarnation) \(process.program ?? "?")"
  var lines = [("process", "\(name): \(state.joined(separator: ", "))")]
  for module in process.modules { lines.append(("module", moduleText(module))) }
  return lines
}

/// `/bin/x: 40 sites, 32 armed, 5 not wanted, 3 not armed (REASON), 2 skipped (2 REASON), …`.
private func moduleText(_ module: ModuleRecord) -> String {
  let counts = StateCounts(module)
  var text = "\(module.path): \(counted(module.sites, "site")), \(grouped(module.armed)) armed, "
  if counts.unwanted > 0 { text += "\(grouped(counts.unwanted)) not wanted, " }
  if counts.notArmed > 0 { text += "\(grouped(counts.notArmed)) not armed, " }
  if counts.unknown > 0 { text += "\(grouped(counts.unknown)) not armed or not wanted, " }
  text += "\(grouped(module.skipped)) skipped"
  let reasons = module.skippedReasons.map { "\(grouped($0.count)) \($0.reason)" }
  if !reasons.isEmpty { text += " (\(reasons.joined(separator: "; ")))" }
  text += ", generation \(module.generation), build-id \(module.buildID ?? "none")"
  if module.unloadTime != nil { text += ", unloaded" }
  if module.armed == 0, !module.status.isEmpty, module.status != "ok" {
    text += "; \(module.status)"
  }
  return text
}

/// What became of a module's sites, beside the armed ones.
private struct StateCounts {
  var unwanted = 0
  var notArmed = 0
  var unknown = 0

  init(_ module: ModuleRecord) {
    module.forEachState(upTo: module.sites) { range, state in
      switch state {
      case .armed: break
      case .unwanted: unwanted += range.count
      case .notArmed: notArmed += range.count
      case .unknown: unknown += range.count
      }
    }
  }
}

private func hundredths(_ number: Double) -> String {
  let whole = Int((min(number, 1e12) * 100).rounded())
  let part = whole % 100
  return "\(whole / 100).\(part < 10 ? "0" : "")\(part)"
}
