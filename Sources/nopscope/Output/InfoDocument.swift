// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import RecordingSchema
import TraceAnalysis

/// The document `nopscope.info/1`.
struct InfoDocument: Encodable {
  struct Module: Encodable {
    var path: String
    var buildID: String?
    var generation, sites, armed, unwanted, notArmed, unknown, skipped: Int
    var skippedReasons: [SkippedReason]
    var status: String

    init(_ record: RecordedModule) {
      path = record.path
      buildID = record.buildID
      generation = record.generation
      sites = record.sites
      armed = record.armed
      let counts = StateCounts(record)
      unwanted = counts.unwanted
      notArmed = counts.notArmed
      unknown = counts.unknown
      skipped = record.skipped
      skippedReasons = record.skippedReasons
      status = record.status
    }
  }

  var calls: UInt64
  var bytes: UInt64
  var bytesPerCall: Double
  var lostEvents: UInt64
  var corrupted: Bool
  var modules: [Module]
  var missing: [MissingProcess]

  init(_ recording: Recording, _ report: Report) {
    calls = report.calls
    bytes = recording.bytes
    bytesPerCall = nopscope.bytesPerCall(recording, report)
    lostEvents = report.lostEvents
    corrupted = report.isCorrupted
    modules = recording.processes.flatMap(\.modules).map(Module.init)
    missing = recording.session.missing
  }
}

/// 0 where there were no calls.
func bytesPerCall(_ recording: Recording, _ report: Report) -> Double {
  report.calls > 0 ? Double(recording.bytes) / Double(report.calls) : 0
}

/// What became of a module's sites, beside the armed ones.
struct StateCounts {
  var unwanted = 0
  var notArmed = 0
  var unknown = 0

  init(_ module: RecordedModule) {
    module.forEachState(upTo: module.sites) { range, state in
      switch state {
      case .armed: break
      case .unwanted: unwanted += range.count
      case .notArmed: notArmed += range.count
      case .unknown: unknown += range.count
      }
    }
  }
}
