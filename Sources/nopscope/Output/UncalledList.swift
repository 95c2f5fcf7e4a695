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
      try writeJSON(document(rows), schema: "uncalled")
      return
    }
    var table = TextTable(["MODULE", "FUNCTION"], rightAligned: 0)
    let short = ShortPaths(Set(uncalled.functions.compactMap(\.function.modulePath)))
    for row in rows {
      let module = row.function.modulePath.map { short[$0] }
      table.add([neutralised(module ?? "?"), neutralised(row.label)])
    }
    CommandOutput.write(table.text(), to: 1)
    for doubt in doubts { complain("\(recording.directory): \(doubt)") }
    CommandOutput.write(closing + "\n", to: 2)
  }

  /// `12 of 40 armed functions were never called; 5 not wanted, 3 could not be armed; 0 events
  /// lost`.
  private var closing: String {
    var line = "\(grouped(uncalled.functions.count)) of "
    line += counted(uncalled.armed, "armed function") + " never called; "
    line += "\(grouped(uncalled.unwanted)) not wanted by the filter, "
    line += "\(grouped(uncalled.notArmed)) could not be armed"
    if uncalled.notArmed > 0 { line += " (nopscope info says why)" }
    if uncalled.unknown > 0 {
      line += ", \(grouped(uncalled.unknown)) unknown (an older recording)"
    }
    return line + "; " + lossText(report.lostEvents, recording)
  }

  /// Why a function in the list may have been called nevertheless.
  private var doubts: [String] {
    var doubts: [String] = []
    let may = "a function listed here may have been called"
    if report.lostEvents > 0 { doubts.append("events were lost: \(may)") }
    if !recording.session.missing.isEmpty { doubts.append("processes are missing: \(may)") }
    // What the rules leave out is not in the list.
    doubts += leftOutTexts(recording).filter {
      !$0.contains("--filter") && !$0.contains("--notrace")
    }
    .map { "\($0): \(may)" }
    return doubts
  }

  private func document(_ rows: [UncalledFunction]) -> UncalledDocument {
    UncalledDocument(
      functions: rows.map(UncalledDocument.Function.init), armed: uncalled.armed,
      uncalled: uncalled.functions.count, unwanted: uncalled.unwanted,
      notArmed: uncalled.notArmed, unknown: uncalled.unknown, doubts: doubts,
      lostEvents: report.lostEvents, corrupted: report.isCorrupted)
  }
}

/// The document `nopscope.uncalled/1`.
private struct UncalledDocument: Encodable {
  struct Function: Encodable {
    var function, module, buildID: String?
    var address: UInt64?

    init(_ row: UncalledFunction) {
      function = row.function.name
      module = row.function.modulePath
      buildID = row.function.buildID
      address = row.function.offset?.rawValue
    }
  }

  var functions: [Function]
  var armed, uncalled, unwanted, notArmed, unknown: Int
  var doubts: [String]
  var lostEvents: UInt64
  var corrupted: Bool
}
