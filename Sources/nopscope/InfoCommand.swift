// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Recording
import TraceAnalysis

struct InfoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "info",
    abstract: "Say what a recording holds, and what it lacks.",
    discussion: """
      Command, tracer, processes, threads and modules; calls and the bytes they take; what was lost, \
      is damaged or was never closed.

      EXAMPLES
        nopscope info
        nopscope info build.data --json | jq .bytesPerCall

      EXIT STATUS
        0  the recording was read, be it in parts: what is damaged is told on stderr
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

    enum CodingKeys: CodingKey { case path, buildID, generation, sites, armed, skipped }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(record.path, forKey: .path)
      try container.encode(record.buildID, forKey: .buildID)
      try container.encode(record.generation, forKey: .generation)
      try container.encode(record.sites, forKey: .sites)
      try container.encode(record.armed, forKey: .armed)
      try container.encode(record.skipped, forKey: .skipped)
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
  let tracer = recording.processes.compactMap(\.tracer).first?.name ?? recording.session.tracer
  var lines: [(String, String)] = [
    ("command", recording.session.command.joined(separator: " ")),
    ("tracer", tracer ?? "?"),
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
  for module in process.modules {
    var text = "\(module.path): \(counted(module.sites, "site")), \(grouped(module.armed)) armed, "
    text += "\(grouped(module.skipped)) skipped, generation \(module.generation)"
    text += ", build-id \(module.buildID ?? "none")"
    if module.unloadTime != nil { text += ", unloaded" }
    lines.append(("module", text))
  }
  return lines
}

private func hundredths(_ number: Double) -> String {
  let whole = Int((min(number, 1e12) * 100).rounded())
  let part = whole % 100
  return "\(whole / 100).\(part < 10 ? "0" : "")\(part)"
}
