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

  struct Thread: Encodable {
    var id: Int32
    var name: String
  }

  struct Process: Encodable {
    var pid: Int32
    /// Counts the execs of the pid, from 0.
    var incarnation: UInt32
    var parent: Int32
    var program: String?
    /// The program's name first; nil: not known.
    var arguments: [String]?
    /// It closed its recording itself.
    var ended: Bool
    /// What turned its tracer off: which module, what was expected and found; nil: nothing, or not known.
    var anomaly: String?
    var threads: [Thread]

    init(_ process: ProcessRecording) {
      pid = process.pid
      incarnation = process.incarnation
      parent = process.parent
      program = process.program
      arguments = process.arguments
      ended = process.hasEnded
      anomaly = anomalyText(process)
      threads = process.threads.map { Thread(id: $0.id, name: $0.name) }
    }
  }

  /// The program and its arguments.
  var command: [String]
  var tracer: String?
  /// `nopscope record` closed it.
  var ended: Bool
  var exitStatus: Int?
  var calls: UInt64
  /// Of a long recording only a part was read for it.
  var callsAreEstimated: Bool
  var bytes: UInt64
  var bytesPerCall: Double
  var lostEvents: UInt64
  var corrupted: Bool
  var processes: [Process]
  var modules: [Module]
  /// What is no damage and should be known, a line each.
  var notes: [String]
  var missing: [MissingProcess]

  init(_ recording: Recording, _ report: CallCount) {
    command = recording.session.command
    tracer = tracerName(of: recording)
    ended = recording.isClosed
    exitStatus = recording.session.exitStatus
    calls = report.calls
    callsAreEstimated = report.isEstimated
    bytes = recording.bytes
    bytesPerCall = nopscope.bytesPerCall(recording, report)
    lostEvents = report.lostEvents
    corrupted = report.isCorrupted
    processes = recording.processes.map(Process.init)
    notes = recording.notes
    modules = recording.processes.flatMap(\.modules).map(Module.init)
    missing = recording.session.missing
  }
}

/// The tracer that the event files have, else the session.
func tracerName(of recording: Recording) -> String? {
  recording.processes.compactMap(\.tracer).first?.name ?? recording.session.tracerName
}

/// 0 where there were no calls.
func bytesPerCall(_ recording: Recording, _ report: CallCount) -> Double {
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
