// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import FoundationEssentials
import TextFormat
import TraceAnalysis

/// The table of `nopscope report`.
func reportText(_ report: Report, _ rows: [ReportRow]) -> String {
  guard report.hasTimes else {
    var table = TextTable(["CALLS", "FUNCTION"], rightAligned: 1)
    for row in rows { table.add([grouped(Int(clamping: row.calls)), shown(row)]) }
    return table.text()
  }
  var table = TextTable(
    ["CALLS", "TOTAL", "SELF", "AVG", "MIN", "MAX", "P50", "P99", "FUNCTION"], rightAligned: 8)
  for row in rows {
    var cells = [grouped(Int(clamping: row.calls))]
    if let times = row.times {
      cells += [durationText(times.total), durationText(times.own), durationText(times.average)]
      cells += [durationText(times.minimum), durationText(times.maximum)]
      cells += [times.median, times.percentile99].map { $0.map(durationText) ?? "-" }
    } else {
      cells += Array(repeating: "-", count: 7)
    }
    table.add(cells + [shown(row)])
  }
  return table.text()
}

private func shown(_ row: ReportRow) -> String { neutralised(row.label) }

/// The table of `nopscope report --diff`.
func differenceText(_ rows: [DifferenceRow]) -> String {
  var table = TextTable(
    ["CALLS", "CHANGE", "TOTAL", "CHANGE", "SELF", "CHANGE", "FUNCTION"], rightAligned: 6)
  for row in rows {
    let after = row.after
    table.add([
      grouped(Int(clamping: after?.calls ?? 0)), signed(grouped(row.calls), row.calls),
      after?.times.map { durationText($0.total) } ?? "-",
      row.total.map { signed(durationText($0), $0) } ?? "-",
      after?.times.map { durationText($0.own) } ?? "-",
      row.own.map { signed(durationText($0), $0) } ?? "-", neutralised(row.label),
    ])
  }
  return table.text()
}

private func signed(_ text: String, _ number: Int) -> String { number > 0 ? "+" + text : text }

// MARK: - JSON

/// A function in `nopscope.report/1`; null where something is not known.
private struct FunctionDocument: Encodable {
  let row: ReportRow

  enum CodingKeys: String, CodingKey {
    case function, module, generation, calls
    case totalNanoseconds, selfNanoseconds, averageNanoseconds
    case minimumNanoseconds, maximumNanoseconds, p50Nanoseconds, p99Nanoseconds
    case varianceSquareNanoseconds
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(row.function.name, forKey: .function)
    try container.encode(row.function.modulePath, forKey: .module)
    try container.encode(row.function.generation, forKey: .generation)
    try container.encode(row.calls, forKey: .calls)
    try container.encode(row.times?.total, forKey: .totalNanoseconds)
    try container.encode(row.times?.own, forKey: .selfNanoseconds)
    try container.encode(row.times?.average, forKey: .averageNanoseconds)
    try container.encode(row.times?.minimum, forKey: .minimumNanoseconds)
    try container.encode(row.times?.maximum, forKey: .maximumNanoseconds)
    try container.encode(row.times?.median, forKey: .p50Nanoseconds)
    try container.encode(row.times?.percentile99, forKey: .p99Nanoseconds)
    try container.encode(row.times?.variance, forKey: .varianceSquareNanoseconds)
  }
}

/// `{"schema":"nopscope.report/1",…}`.
func reportJSON(_ report: Report, _ rows: [ReportRow]) throws -> String {
  struct Document: Encodable {
    var schema = "nopscope.report/1"
    var functions: [FunctionDocument]
    var threads: Int
    var lostEvents: UInt64
    var corrupted: Bool
  }
  return try jsonText(
    Document(
      functions: rows.map(FunctionDocument.init), threads: report.threads,
      lostEvents: report.lostEvents, corrupted: report.isCorrupted))
}

/// `{"schema":"nopscope.report-diff/1","functions":[{"before":…,"after":…}]}`.
func differenceJSON(_ rows: [DifferenceRow]) throws -> String {
  struct Pair: Encodable {
    var before, after: FunctionDocument?

    enum CodingKeys: CodingKey { case before, after }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(before, forKey: .before)
      try container.encode(after, forKey: .after)
    }
  }
  struct Document: Encodable {
    var schema = "nopscope.report-diff/1"
    var functions: [Pair]
  }
  return try jsonText(
    Document(
      functions: rows.map { row in
        Pair(
          before: row.before.map(FunctionDocument.init),
          after: row.after.map(FunctionDocument.init))
      }))
}

/// One line of JSON with its keys in order.
func jsonText(_ document: some Encodable) throws -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
  return String(decoding: try encoder.encode(document), as: UTF8.self)
}
