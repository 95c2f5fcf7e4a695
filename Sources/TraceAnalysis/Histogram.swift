// SPDX-License-Identifier: Apache-2.0

/// Where a value is counted: 64 buckets for each doubling, so that a bucket's middle is within
/// 0.8 % of all that is in it; below 128 every value has a bucket of its own.
enum HistogramScale {
  /// Buckets a row of 64: row 0 for 0..<64, row r for 2^(r+5)..<2^(r+6).
  static let rows = 59

  static func place(_ value: UInt64) -> (row: Int, column: Int) {
    if value < 64 { return (0, Int(value)) }
    let exponent = 63 - value.leadingZeroBitCount
    return (exponent - 5, Int((value >> UInt64(exponent - 6)) & 63))
  }

  /// The middle of a bucket.
  static func value(row: Int, column: Int) -> UInt64 {
    if row == 0 { return UInt64(column) }
    let width = UInt64(1) << UInt64(row - 1)
    return (64 + UInt64(column)) * width + (width - 1) / 2
  }
}

/// Counts of values by size: mergeable, of bounded memory (64 counters for each power of two seen).
struct Histogram: Sendable {
  private var rows: [[UInt64]] = []

  mutating func add(row: Int, _ counts: ArraySlice<UInt64>) {
    while rows.count <= row { rows.append([]) }
    if rows[row].isEmpty {
      rows[row] = Array(counts)
    } else {
      for (index, count) in counts.enumerated() { rows[row][index] &+= count }
    }
  }

  mutating func add(_ other: Histogram) {
    for (row, counts) in other.rows.enumerated() where !counts.isEmpty {
      add(row: row, counts[...])
    }
  }

  /// The value that `fraction` of all values do not exceed; nil where there are none.
  func quantile(_ fraction: Double) -> UInt64? {
    let total = rows.reduce(0) { $0 &+ $1.reduce(0, &+) }
    if total == 0 { return nil }
    let rank = max(1, UInt64((Double(total) * fraction).rounded(.up)))
    var seen: UInt64 = 0
    for (row, counts) in rows.enumerated() {
      for (column, count) in counts.enumerated() where count > 0 {
        seen &+= count
        if seen >= rank { return HistogramScale.value(row: row, column: column) }
      }
    }
    return nil
  }
}

extension Histogram {
  /// How many values are in each row: in 0..<64, and in each power of two above.
  var rowCounts: [UInt64] { rows.map { $0.reduce(0, &+) } }
}

/// How long single calls of a function took.
public struct Distribution: Sendable {
  let histogram: Histogram
  let scale: Double
  /// The shortest and the longest call, in units.
  let bounds: (least: UInt64, most: UInt64)

  /// Nanoseconds that a fraction of all calls do not exceed, within 0.8 %; nil where none is known.
  public func quantile(_ fraction: Double) -> Int? {
    // A bucket's middle may lie outside what was seen.
    histogram.quantile(fraction).map { nanoseconds(min(max($0, bounds.least), bounds.most)) }
  }

  /// Calls by their time: each range is twice as wide as the one before, in nanoseconds. Those before
  /// the first and behind the last that has a call are left out.
  public var ranges: [(from: Int, to: Int, calls: UInt64)] {
    let counts = histogram.rowCounts
    guard let first = counts.firstIndex(where: { $0 > 0 }),
      let last = counts.lastIndex(where: { $0 > 0 })
    else { return [] }
    return (first...last).map { row in
      let from = row == 0 ? 0 : UInt64(32) << UInt64(row)
      return (nanoseconds(from), nanoseconds(UInt64(64) << UInt64(row)), counts[row])
    }
  }

  private func nanoseconds(_ units: UInt64) -> Int {
    Int(exactly: (Double(units) * scale).rounded()) ?? Int.max
  }
}

/// Histograms of many functions in two arrays: a row of 64 counters is made when it is first
/// needed.
struct HistogramPool: Sendable {
  /// By function and row: where its counters begin, or -1.
  private var starts: [Int32] = []
  private var counters: [UInt64] = []

  mutating func addFunction() {
    starts += repeatElement(-1, count: HistogramScale.rows)
  }

  @inline(__always)
  mutating func count(_ value: UInt64, function: Int) {
    let (row, column) = HistogramScale.place(value)
    let index = function * HistogramScale.rows + row
    if starts[index] < 0 { makeRow(index) }
    counters[Int(starts[index]) + column] &+= 1
  }

  private mutating func makeRow(_ index: Int) {
    starts[index] = Int32(clamping: counters.count)
    counters += repeatElement(0, count: 64)
  }

  mutating func add(function other: Int, of pool: HistogramPool, to function: Int) {
    for row in 0..<HistogramScale.rows {
      let from = Int(pool.starts[other * HistogramScale.rows + row])
      if from < 0 { continue }
      let index = function * HistogramScale.rows + row
      if starts[index] < 0 { makeRow(index) }
      let to = Int(starts[index])
      for column in 0..<64 { counters[to + column] &+= pool.counters[from + column] }
    }
  }

  func merge(function: Int, into histogram: inout Histogram) {
    for row in 0..<HistogramScale.rows {
      let start = starts[function * HistogramScale.rows + row]
      if start >= 0 { histogram.add(row: row, counters[Int(start)..<Int(start) + 64]) }
    }
  }
}
