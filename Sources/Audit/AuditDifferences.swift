// SPDX-License-Identifier: Apache-2.0
//
// Differing bytes as they are found, and what of them the journal explains.

import LivePatching
import Units

/// Neighbouring bytes that differ; the collector has their values.
struct DifferingRun {
  /// Index of the compared range, for its file and its link-time address.
  var range: Int
  var address: CodeAddress
  /// Of the first byte, among the collected bytes.
  var index: Int
  var count: Int
}

/// Collects differing bytes, at most `limit` of them.
struct DifferenceCollector {
  private(set) var runs: [DifferingRun] = []
  private(set) var fileBytes: [UInt8] = []
  private(set) var liveBytes: [UInt8] = []
  private(set) var unlisted: UInt64 = 0
  let limit: Int

  init(limit: Int) { self.limit = limit }

  mutating func append(range: Int, address: CodeAddress, file: UInt8, live: UInt8) {
    guard fileBytes.count < limit else {
      unlisted += 1
      return
    }
    if let last = runs.last, last.range == range, last.address + UInt64(last.count) == address {
      runs[runs.count - 1].count += 1
    } else {
      runs.append(
        DifferingRun(range: range, address: address, index: fileBytes.count, count: 1))
    }
    fileBytes.append(file)
    liveBytes.append(live)
  }

  /// Removes a range's runs; how many bytes they had.
  mutating func remove(range: Int) -> UInt64 {
    let count = runs.reduce(0) { $0 + ($1.range == range ? $1.count : 0) }
    runs.removeAll { $0.range == range }
    return UInt64(count)
  }

  /// To be called when all are collected, before any look-up: files are compared one by one, and
  /// their mappings may interleave.
  mutating func sort() { runs.sort { $0.address < $1.address } }

  /// The differing byte at `address`: its run and its index among the collected bytes; nil: the
  /// byte is equal.
  func find(_ address: CodeAddress) -> (run: DifferingRun, index: Int)? {
    var low = 0
    var high = runs.count
    while low < high {
      let middle = (low + high) / 2
      if runs[middle].address <= address { low = middle + 1 } else { high = middle }
    }
    guard low > 0 else { return nil }
    let run = runs[low - 1]
    let distance = address - run.address
    return distance < UInt64(run.count) ? (run, run.index + Int(distance)) : nil
  }

  /// Whether the text shows this change, byte for byte; a byte that the change leaves as it was
  /// must be equal.
  func shows(_ change: KnownChange) -> Bool {
    for (offset, (original, current)) in zip(change.original, change.current).enumerated() {
      guard let (_, index) = find(change.address + UInt64(offset)) else {
        if original != current { return false }
        continue
      }
      if fileBytes[index] != original || liveBytes[index] != current { return false }
    }
    return true
  }
}

extension DifferenceCollector {
  /// Sorts the known from the unknown: each change that the text shows is one difference, and what
  /// no such change covers is left as it was found.
  ///
  /// `place` gives the module, the file offset and the link-time address of a run.
  func classify(
    known: [KnownChange], place: (_ range: Int, _ address: CodeAddress) -> TextDifference
  ) -> (differences: [TextDifference], absent: [KnownChange]) {
    var isExplained = [Bool](repeating: false, count: fileBytes.count)
    var differences: [TextDifference] = []
    var absent: [KnownChange] = []
    for change in known where change.original != change.current {
      let found = change.original.indices.compactMap { find(change.address + UInt64($0)) }
      guard let range = found.first?.run.range, shows(change) else {
        absent.append(change)
        continue
      }
      for (_, index) in found { isExplained[index] = true }
      var difference = place(range, change.address)
      difference.fileBytes = change.original
      difference.liveBytes = change.current
      difference.isKnown = true
      differences.append(difference)
    }
    for run in runs { append(run, unless: isExplained, to: &differences, place: place) }
    differences.sort { $0.address < $1.address }
    return (differences, absent)
  }

  private func append(
    _ run: DifferingRun, unless isExplained: [Bool], to differences: inout [TextDifference],
    place: (_ range: Int, _ address: CodeAddress) -> TextDifference
  ) {
    var start = run.index
    let end = run.index + run.count
    while start < end {
      let stop = (start..<end).first { isExplained[$0] } ?? end
      if start < stop {
        var difference = place(run.range, run.address + UInt64(start - run.index))
        difference.fileBytes = Array(fileBytes[start..<stop])
        difference.liveBytes = Array(liveBytes[start..<stop])
        differences.append(difference)
      }
      start = stop + 1
    }
  }
}
