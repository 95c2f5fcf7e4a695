// SPDX-License-Identifier: Apache-2.0

import RecordingReader

/// One function in two recordings.
public struct DifferenceRow: Sendable {
  /// Nil where it was not called.
  public var before: ReportRow?
  /// Nil where it was not called.
  public var after: ReportRow?

  /// The function's name as it is shown.
  public var label: String { (after ?? before)?.label ?? "?" }
  /// The path of its module; nil where that is not known.
  public var modulePath: String? { (after ?? before)?.function.modulePath }
  /// How many more calls there were.
  public var calls: Int {
    Int(clamping: after?.calls ?? 0) - Int(clamping: before?.calls ?? 0)
  }
  /// Nanoseconds; nil where neither has times.
  public var total: Int? { difference(\.total) }
  /// Nanoseconds, without what it called; nil where neither has times.
  public var selfTime: Int? { difference(\.selfTime) }

  private func difference(_ time: KeyPath<CallTimes, Int>) -> Int? {
    if before?.times == nil && after?.times == nil { return nil }
    return (after?.times?[keyPath: time] ?? 0) - (before?.times?[keyPath: time] ?? 0)
  }
}

/// Two reports, function by function: the largest change of total time, or of calls, first.
///
/// Functions are the same where module's file name and symbol are: a rebuilt program has other
/// build-ids and offsets. Those of one name (static functions, generations) are paired in order.
/// `renaming`: which file of the older report is which of the newer one, where their names differ.
public func difference(
  from before: Report, to after: Report, renaming: [String: String] = [:]
) -> [DifferenceRow] {
  struct Key: Hashable {
    var module, name: String
    var occurrence: Int
  }
  func keyed(_ report: Report, _ renaming: [String: String]) -> [Key: ReportRow] {
    var rows: [Key: ReportRow] = [:]
    for row in report.rows {
      let file = row.function.modulePath?.split(separator: "/").last.map(String.init) ?? ""
      let name = row.function.rawName ?? row.label
      var key = Key(module: renaming[file] ?? file, name: name, occurrence: 0)
      while rows[key] != nil { key.occurrence += 1 }
      rows[key] = row
    }
    return rows
  }
  let old = keyed(before, renaming)
  let new = keyed(after, [:])
  let rows = Set(old.keys).union(new.keys).map { DifferenceRow(before: old[$0], after: new[$0]) }
  return rows.sorted { left, right in
    let totals = (abs(left.total ?? 0), abs(right.total ?? 0))
    if totals.0 != totals.1 { return totals.0 > totals.1 }
    if abs(left.calls) != abs(right.calls) { return abs(left.calls) > abs(right.calls) }
    return left.label < right.label
  }
}
