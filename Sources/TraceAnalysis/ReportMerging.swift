// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Units

/// Puts the functions of several processes and loads together: the same file's call site is the same
/// function.
struct ReportMerging: MergedTotals {
  private struct Key: Hashable {
    var module: String?
    var buildID: String?
    /// Where each load is a module of its own; else 0.
    var generation: Int
    var offset: ModuleOffset?
    /// Where no offset is known: which number of which process.
    var process: Int32?
    var number: UInt32?
  }

  private struct Merged {
    var function: FunctionName
    var number: UInt32
    var totals = FunctionTotals()
    var histogram = Histogram()
    var scale: Double
    var loads = 0
  }

  private let eachLoad: Bool
  private let hasSwitches: Bool

  /// Indices of `functions`.
  private var places: [Key: Int] = [:]
  /// In the order in which they were met.
  private var functions: [(key: Key, merged: Merged)] = []

  init(eachLoad: Bool, hasSwitches: Bool) {
    self.eachLoad = eachLoad
    self.hasSwitches = hasSwitches
  }

  func table(_ process: ProcessRecording) -> TotalsTable { TotalsTable(process) }

  func begin(_ thread: ThreadRecording, in table: inout TotalsTable) {}

  mutating func add(_ table: TotalsTable, of process: ProcessRecording) {
    for (slot, number) in table.numbers.enumerated() {
      let totals = table.totals[slot]
      if totals.calls == 0 { continue }
      let function = process.function(UInt64(number))
      let isKnown = function.offset != nil
      let key = Key(
        module: function.modulePath, buildID: function.buildID,
        generation: eachLoad ? function.generation : 0,
        offset: function.offset, process: isKnown ? nil : process.pid,
        number: isKnown ? nil : number)
      let place = place(of: key) {
        Merged(function: function, number: number, scale: process.scale)
      }
      functions[place].merged.totals.add(totals)
      functions[place].merged.loads += 1
      table.histograms.merge(function: slot, into: &functions[place].merged.histogram)
    }
  }

  mutating func add(_ next: ReportMerging) {
    for (key, other) in next.functions {
      let known = functions.count
      let place = place(of: key) { other }
      if place == known { continue }
      functions[place].merged.totals.add(other.totals)
      functions[place].merged.loads += other.loads
      functions[place].merged.histogram.add(other.histogram)
    }
  }

  private mutating func place(of key: Key, _ new: () -> Merged) -> Int {
    if let known = places[key] { return known }
    functions.append((key, new()))
    places[key] = functions.count - 1
    return functions.count - 1
  }

  func rows() -> [ReportRow] {
    functions.map { row($0.merged) }.sorted { left, right in
      let own = (left.times?.selfTime ?? 0, right.times?.selfTime ?? 0)
      if own.0 != own.1 { return own.0 > own.1 }
      let totals = (left.times?.total ?? 0, right.times?.total ?? 0)
      if totals.0 != totals.1 { return totals.0 > totals.1 }
      if left.calls != right.calls { return left.calls > right.calls }
      return (left.label, left.number) < (right.label, right.number)
    }
  }

  private func row(_ merged: Merged) -> ReportRow {
    ReportRow(
      function: merged.function, number: UInt64(merged.number), loads: merged.loads,
      calls: merged.totals.calls,
      times: times(merged), distribution: distribution(of: merged))
  }

  private func distribution(of merged: Merged) -> Distribution {
    Distribution(
      histogram: merged.histogram, scale: merged.scale,
      bounds: (merged.totals.minimum.rawValue, merged.totals.maximum.rawValue))
  }

  private func times(_ merged: Merged) -> CallTimes? {
    let totals = merged.totals
    guard totals.timed > 0 else { return nil }
    let scale = merged.scale
    func nanoseconds(_ units: Double) -> Int { Int(exactly: (units * scale).rounded()) ?? Int.max }
    func nanoseconds(_ time: ClockUnits) -> Int { nanoseconds(Double(time.rawValue)) }
    let count = Double(totals.timed)
    let sum = Double(totals.sum.rawValue)
    let variance =
      totals.timed < 2
      ? nil
      : max(0, (count * totals.squares - sum * sum) / (count * (count - 1))) * scale * scale
    let distribution = distribution(of: merged)
    return CallTimes(
      total: nanoseconds(totals.total), selfTime: nanoseconds(totals.selfTime),
      selfWait: hasSwitches ? nanoseconds(totals.selfWaited) : nil,
      average: sum * scale / count, minimum: nanoseconds(totals.minimum),
      maximum: nanoseconds(totals.maximum),
      median: distribution.quantile(0.5),
      percentile99: distribution.quantile(0.99), variance: variance)
  }
}
