// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingReader
import TestSupport
import TraceAnalysis
import TraceExport

/// One call as a viewer would show it, read back from an export. Times are in nanoseconds.
struct ExportedSlice: Equatable, CustomStringConvertible {
  var thread: Int
  var name: String
  var depth: Int
  var start: UInt64
  var duration: UInt64
  /// The notes at its beginning and at its end.
  var notes: [String] = []

  var description: String {
    "\(thread): \(name) depth \(depth) at \(start) for \(duration) \(notes)"
  }
}

/// Calls and the sum of their durations, by function.
struct Counted: Equatable {
  var calls = 0
  var nanoseconds = 0
}

/// By name.
func counted(_ slices: [ExportedSlice]) -> [String: Counted] {
  slices.reduce(into: [:]) { totals, slice in
    totals[slice.name, default: Counted()].calls += 1
    totals[slice.name, default: Counted()].nanoseconds += Int(slice.duration)
  }
}

/// The sums that `nopscope report` computes from the same recording.
func reported(_ recording: Recording) -> [String: Counted] {
  Report(of: recording).rows.reduce(into: [:]) { totals, row in
    // The report's total counts recursion once. Average times calls is the plain sum.
    let sum = (row.times?.average ?? 0) * Double(row.calls)
    totals[row.label, default: Counted()].calls += Int(row.calls)
    totals[row.label, default: Counted()].nanoseconds += Int(sum.rounded())
  }
}

/// Pairs begins and ends as a viewer does: an end closes the innermost open slice.
struct SlicePairing {
  private(set) var slices: [ExportedSlice] = []
  private(set) var problems: [String] = []
  private var open: [Int: [ExportedSlice]] = [:]
  private var last: [Int: UInt64] = [:]

  mutating func begin(_ name: String, thread: Int, at time: UInt64, note: String?) {
    follow(thread, time)
    let depth = open[thread, default: []].count
    open[thread, default: []].append(
      ExportedSlice(
        thread: thread, name: name, depth: depth, start: time, duration: 0,
        notes: note.map { [$0] } ?? []))
  }

  /// `name`: the name that the end event has, if the format has names there.
  mutating func end(_ name: String? = nil, thread: Int, at time: UInt64, note: String?) {
    follow(thread, time)
    guard var slice = open[thread]?.popLast() else {
      problems.append("\(thread): an end at \(time) and nothing is open")
      return
    }
    if let name, name != slice.name { problems.append("\(name) ends inside \(slice.name)") }
    slice.duration = time - slice.start
    if let note { slice.notes.append(note) }
    slices.append(slice)
  }

  mutating func instant(_ name: String, thread: Int, at time: UInt64) {
    begin(name, thread: thread, at: time, note: nil)
    end(thread: thread, at: time, note: nil)
  }

  private mutating func follow(_ thread: Int, _ time: UInt64) {
    if time < last[thread, default: 0] { problems.append("\(thread): time falls to \(time)") }
    last[thread] = time
  }

  /// The slices that no end event closed.
  var unclosed: Int { open.values.reduce(0) { $0 + $1.count } }
}

/// Exports into a new folder and returns the path and the summary.
func export(
  _ recording: Recording, as format: ExportFormat, weight: FoldedWeight? = nil
) throws -> (path: String, summary: ExportSummary) {
  let path = try TemporaryFolder.shared.fresh("export") + "/out"
  var exporter = Exporter(recording, as: format)
  exporter.foldedWeight = weight
  return (path, try exporter.export(to: .path(path)))
}
