// SPDX-License-Identifier: Apache-2.0

import CRecorder
import RecordingSchema

/// The call sites of each file that were called in any process.
///
/// They are found by a pass over the event files, which has a time limit: where it is reached, every site
/// counts as called.
struct CalledSites {
  /// By file: a bit for each site. Empty: all are.
  private var bits: [[UInt64]]
  /// Sites of each file.
  private let counts: [Int]

  /// None called yet.
  init(_ loaded: LoadedFunctions) {
    counts = loaded.files.map(\.sites)
    bits = counts.map { Array(repeating: 0, count: ($0 + 63) / 64) }
  }

  /// Reads the event files. `deadline` is of the monotonic clock.
  mutating func read(_ loaded: LoadedFunctions, in folder: RecordingFolder, deadline: UInt64) {
    if loaded.isIncomplete { return all() }
    for (image, loads) in loaded.loads {
      let last = loads.map { UInt64($0.firstFunction) + UInt64($0.sites) }.max() ?? 0
      let count = UInt32(clamping: last)
      var called = [UInt64](repeating: 0, count: (Int(count) + 63) / 64)
      let events = folder.file(image.events)
      guard nrc_mark_called(events.number, deadline, &called, count) else { return all() }
      for load in loads { add(called, load) }
    }
  }

  private mutating func all() { bits = bits.map { _ in [] } }

  private mutating func add(_ called: [UInt64], _ load: LoadedFunctions.Load) {
    let first = Int(load.firstFunction)
    let file = Int(load.file)
    for word in (first / 64)..<called.count {
      var left = called[word]
      while left != 0 {
        let function = word * 64 + left.trailingZeroBitCount
        left &= left - 1
        let site = function - first
        if site >= Int(load.sites) { return }
        if site >= 0, site < counts[file] { bits[file][site / 64] |= 1 << UInt64(site % 64) }
      }
    }
  }

  /// The sites of a file that were called, ascending.
  func sites(ofFile file: Int) -> [UInt32] {
    if bits[file].isEmpty { return (0..<counts[file]).map(UInt32.init) }
    return (0..<counts[file]).compactMap { site in
      bits[file][site / 64] >> UInt64(site % 64) & 1 == 1 ? UInt32(site) : nil
    }
  }
}
