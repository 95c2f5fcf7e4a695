// SPDX-License-Identifier: Apache-2.0

import CommandOutput
import RecordingReader
import RecordingSchema
import TextFormat
import Units

/// The last line of `nopscope replay`: `2 threads of 1 process; 0 events lost`.
func replayClosing(_ recording: Recording) -> String {
  "\(counted(recording.threadCount, "thread")) of "
    + counted(recording.processes.count, "process", plural: "processes") + "; "
    + lossText(recording.lostEvents, recording)
}

/// Why there is nothing to replay, and what shows the recording.
func noEvents(_ recording: Recording) -> String {
  let tracer = recording.processes.compactMap(\.tracer).first
  return "recorded with the tracer \(tracer?.name ?? "unknown"), which counts "
    + "and keeps no events: try nopscope report"
    + (tracer == .callGraph ? " or nopscope graph" : "")
}

/// How far a replay is, by the time of its events.
final class ReplayMeter {
  private let start: ClockUnits
  private let length: Double
  private let progress: Progress?
  private var events = 0

  init(_ recording: Recording, _ progress: Progress?) {
    start = recording.startTime
    let ends = recording.processes.flatMap { process in
      [process.endTime] + process.threads.compactMap(\.lastChunkTime)
    }
    length = Double(((ends.max() ?? .zero) &- start).rawValue)
    self.progress = progress
  }

  /// Called for each event: looks at the clock now and then only.
  func passed(_ time: ClockUnits) {
    events &+= 1
    guard events & 0x3fff == 0, time > start, length > 0 else { return }
    progress?.show(min(1, Double((time - start).rawValue) / length))
  }

  func finish() { progress?.finish() }
}
