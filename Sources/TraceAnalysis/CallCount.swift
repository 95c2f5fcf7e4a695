// SPDX-License-Identifier: Apache-2.0

import RecordingReader

/// How many calls a recording has, without reading all of a long one.
public struct CallCount: Sendable {
  /// Calls of all functions.
  public private(set) var calls: UInt64 = 0
  /// Only every nth chunk was read, and the others were taken to be like it.
  public private(set) var isEstimated = false
  /// Events that found no room.
  public private(set) var lostEvents: UInt64 = 0
  /// The recording is damaged, or an anomaly ended the tracing of a process.
  public private(set) var isCorrupted = false
  /// Damage, of the recording and found while reading it, one line each.
  public private(set) var problems: [String] = []

  /// Chunks of events that are read of a long recording.
  public static let mostChunks = 2048

  /// Reads at most about `most` chunks.
  public init(
    of recording: Recording, most: Int = mostChunks,
    progress: @escaping (Double) -> Void = { _ in }
  ) {
    let chunks = recording.processes.reduce(0) { sum, process in
      process.threads.reduce(sum) { $0 + $1.chunkCount }
    }
    guard chunks > most else {
      let report = Report(of: recording, progress: progress)
      calls = report.calls
      lostEvents = report.lostEvents
      isCorrupted = report.isCorrupted
      problems = report.problems
      return
    }
    isEstimated = true
    let step = (chunks + most - 1) / most
    for process in recording.processes {
      lostEvents &+= process.lostEvents
      for thread in process.threads where thread.chunkCount > 0 { add(thread, step) }
    }
    isCorrupted = recording.isCorrupted || !problems.isEmpty
    problems = recording.problems + problems
  }

  private mutating func add(_ thread: ThreadRecording, _ step: Int) {
    var cursor = thread.cursor(everyNthChunk: step)
    var entries: UInt64 = 0
    while let event = cursor.next() {
      if event.kind == .entry { entries += 1 }
    }
    let read = (thread.chunkCount + step - 1) / step
    calls &+= UInt64((Double(entries) * Double(thread.chunkCount) / Double(read)).rounded())
    problems += cursor.problems
  }
}
