// SPDX-License-Identifier: Apache-2.0

import TraceAnalysis

/// What the rows of `nopscope report` are sorted by.
enum ReportOrder: String, CaseIterable {
  case `self`, cpu, wait, total, calls, avg, min, max, p50, p99, variance, name

  /// Names from A to Z, numbers from the highest to the lowest; rows of one number stay in order.
  func sorted(_ rows: [ReportRow]) -> [ReportRow] {
    if self == .name { return rows.sorted { ($0.label, $0.number) < ($1.label, $1.number) } }
    let keyed = rows.enumerated().map { (value(of: $0.element), $0.offset, $0.element) }
    return keyed.sorted { $0.0 != $1.0 ? $0.0 > $1.0 : $0.1 < $1.1 }.map(\.2)
  }

  /// Below all that is known where the row does not have it.
  private func value(of row: ReportRow) -> Double {
    switch self {
    case .calls: Double(row.calls)
    case .total, .name: Double(row.times?.total ?? -1)
    case .self: Double(row.times?.selfTime ?? -1)
    case .cpu:
      row.times.flatMap { times in times.selfWait.map { Double(times.selfTime - $0) } } ?? -1
    case .wait: Double(row.times?.selfWait ?? -1)
    case .avg: row.times?.average ?? -1
    case .min: Double(row.times?.minimum ?? -1)
    case .max: Double(row.times?.maximum ?? -1)
    case .p50: Double(row.times?.median ?? -1)
    case .p99: Double(row.times?.percentile99 ?? -1)
    case .variance: row.times?.variance ?? -1
    }
  }
}
