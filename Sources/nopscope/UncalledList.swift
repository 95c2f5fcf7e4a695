// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import RecordingReader
import TextFormat
import TraceAnalysis

/// The output of `nopscope report --uncalled`.
struct UncalledList {
  let recording: Recording
  let report: Report
  let uncalled: Uncalled

  func write(limit: Int?, json: Bool) throws {
    let rows = Array(uncalled.functions.prefix(limit ?? uncalled.functions.count))
    if json {
      CommandOutput.write(try document(rows) + "\n", to: 1)
      return
    }
    var table = TextTable(["MODULE", "FUNCTION"], rightAligned: 0)
    for row in rows {
      let file = row.function.modulePath.map { String($0.split(separator: "/").last ?? "?") }
      table.add([neutralised(file ?? "?"), neutralised(row.label)])
    }
    CommandOutput.write(table.text(), to: 1)
    for doubt in doubts { complain("\(recording.directory): \(doubt)") }
    CommandOutput.write(closing + "\n", to: 2)
  }

  /// `12 of 40 armed functions were never called; 5 not wanted, 3 could not be armed; 0 events lost`.
  private var closing: String {
    var line = "\(grouped(uncalled.functions.count)) of "
    line += counted(uncalled.armed, "armed function") + " never called; "
    line += "\(grouped(uncalled.unwanted)) not wanted by the filter, "
    line += "\(grouped(uncalled.notArmed)) could not be armed"
    if uncalled.notArmed > 0 { line += " (nopscope info says why)" }
    if uncalled.unknown > 0 {
      line += ", of \(grouped(uncalled.unknown)) it is not known: an older recording"
    }
    return line + "; \(grouped(Int(clamping: report.lostEvents))) events lost"
  }

  /// Why a function in the list may have been called all the same.
  private var doubts: [String] {
    var doubts: [String] = []
    let options = recording.session.options
    let may = "a function listed here may have been called"
    if report.lostEvents > 0 { doubts.append("events were lost: \(may)") }
    if recording.processes.contains(where: \.isOverwriting) {
      doubts.append("a flight recorder keeps the end only: \(may) before")
    }
    if let least = options.thresholdNanoseconds, least > 0 {
      doubts.append(
        "calls shorter than \(durationText(Int(clamping: least))) were not recorded: \(may)")
    }
    if let depth = options.maximumDepth, depth > 0 {
      doubts.append("calls deeper than \(depth) were not recorded: \(may)")
    }
    if let graph = options.graph, !graph.isEmpty {
      doubts.append("only what \(graph.joined(separator: ", ")) calls was recorded: \(may)")
    }
    if let threads = options.threads, !threads.isEmpty {
      doubts.append("only threads \(threads.joined(separator: ", ")) were recorded: \(may)")
    }
    return doubts
  }

  /// `{"schema":"nopscope.uncalled/1",…}`.
  private func document(_ rows: [UncalledFunction]) throws -> String {
    struct Function: Encodable {
      var row: UncalledFunction

      enum CodingKeys: CodingKey { case function, module, buildID, address }

      func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(row.function.name, forKey: .function)
        try container.encode(row.function.modulePath, forKey: .module)
        try container.encode(row.function.buildID, forKey: .buildID)
        try container.encode(row.function.offset, forKey: .address)
      }
    }
    struct Document: Encodable {
      var schema = "nopscope.uncalled/1"
      var functions: [Function]
      var armed, uncalled, unwanted, notArmed, unknown: Int
      var doubts: [String]
      var lostEvents: UInt64
      var corrupted: Bool
    }
    return try jsonText(
      Document(
        functions: rows.map(Function.init), armed: uncalled.armed,
        uncalled: uncalled.functions.count, unwanted: uncalled.unwanted,
        notArmed: uncalled.notArmed, unknown: uncalled.unknown, doubts: doubts,
        lostEvents: report.lostEvents, corrupted: report.isCorrupted))
  }
}
