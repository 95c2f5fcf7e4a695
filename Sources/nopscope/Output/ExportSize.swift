// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TextFormat
import TraceAnalysis
import TraceExport

/// How large an export will be, and whether its viewer can open it.
struct ExportSize {
  /// Bytes, estimated before anything is read.
  let bytes: Double
  let format: ExportFormat

  init(_ recording: Recording, _ filter: ReadingFilter, _ format: ExportFormat) {
    self.format = format
    bytes = recording.processes.reduce(0.0) { sum, process in
      let all = process.threads.reduce(0) { $0 + $1.chunkCount }
      let chosen = process.threads.filter { filter.isChosen(process, $0) }
        .reduce(0) { $0 + $1.chunkCount }
      let part = all > 0 ? Double(chosen) / Double(all) : 0
      return sum + Double(process.bytes) * part * Self.factor(format)
    }
  }

  /// Bytes that are written for one of an event file: docs/export.md, of 3 bytes a call.
  private static func factor(_ format: ExportFormat) -> Double {
    switch format {
    case .perfetto: 8
    case .speedscope: 27
    case .chrome: 38
    case .folded, .flamegraph, .uftrace: 0
    }
  }

  /// What the viewer opens, with its name; nil: it opens any.
  private var limit: (bytes: Double, viewer: String)? {
    switch format {
    // trace_processor in the browser has 32-bit memory.
    case .perfetto: (2e9, "ui.perfetto.dev")
    // A browser's longest string.
    case .speedscope: (5e8, "speedscope.app")
    case .chrome: (5e8, "a viewer of JSON")
    case .folded, .flamegraph, .uftrace: nil
    }
  }

  /// One line where the viewer cannot open what will be written, and how to write less.
  var warning: String? {
    guard let limit, bytes > limit.bytes else { return nil }
    func gigabytes(_ bytes: Double) -> String { "\(fixed(bytes / 1e9, 1)) GB" }
    return "\(format) will have about \(gigabytes(bytes)); \(limit.viewer) opens about "
      + "\(gigabytes(limit.bytes)): choose a part with --from, --to, --function, --min or --thread"
  }
}
