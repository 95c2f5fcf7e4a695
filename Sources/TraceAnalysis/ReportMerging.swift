// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Units

/// Puts the functions of several processes and loads together: the same file's call site is the same
/// function.
struct ReportMerging {
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

  private var functions: [Key: Merged] = [:]

  init(eachLoad: Bool, hasSwitches: Bool) {
    self.eachLoad = eachLoad
    self.hasSwitches = hasSwitches
  }

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
      let new = Merged(function: function, number: number, scale: process.scale)
      functions[key, default: new].totals.add(totals)
      functions[key, default: new].loads += 1
      table.histograms.merge(function: slot, into: &functions[key, default: new].histogram)
    }
  }

  func rows() -> [ReportRow] {
    functions.values.map(row).sorted { left, right in
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
