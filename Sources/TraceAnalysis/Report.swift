// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Units

/// Times of one function's calls, in nanoseconds.
public struct CallTimes: Sendable {
  /// In the function or what it called; recursion is not counted twice.
  public var total: Int
  /// In the function, without what it called.
  public var selfTime: Int
  /// The part of `selfTime` in which the thread was off the CPU; nil where that is not known.
  public var selfWait: Int?
  /// Of one call, those inside calls of the same function included.
  public var average: Double
  /// Of the shortest call.
  public var minimum: Int
  /// Of the longest call.
  public var maximum: Int
  /// Within 0.8 %; nil where the agent kept no distribution.
  public var median: Int?
  /// Within 0.8 %; nil where the agent kept no distribution.
  public var percentile99: Int?
  /// s² in ns²: (nΣx² − (Σx)²) / (n(n−1)); nil for fewer than two calls.
  public var variance: Double?
}

/// One function of a report.
public struct ReportRow: Sendable {
  /// What is known of it.
  public var function: FunctionName
  /// Its number in the process where it was first met.
  public var number: UInt64
  /// How many loads of its module it is the sum of, in all processes.
  public var loads: Int
  /// Calls that began.
  public var calls: UInt64
  /// Nil where no call's duration is known.
  public var times: CallTimes?
  /// Of single calls.
  public var distribution: Distribution

  /// Its name as it is shown.
  public var label: String { function.label(number: number) }
}

/// What ran, function by function.
public struct Report: Sendable {
  /// Functions that were called, by own time, then total time, then calls, then name.
  public internal(set) var rows: [ReportRow] = []
  /// Of a report by modules, threads, processes or files, by own time, then calls, then name.
  public internal(set) var groups: [GroupRow] = []
  /// Threads that were read.
  public internal(set) var threads = 0
  /// Calls of all functions.
  public internal(set) var calls: UInt64 = 0
  /// Events that found no room.
  public internal(set) var lostEvents: UInt64 = 0
  /// The recording is damaged, or an anomaly ended the tracing of a process.
  public internal(set) var isCorrupted = false
  /// Damage, of the recording and found while reading it, one line each.
  public internal(set) var problems: [String] = []
  /// Calls that ended without returning; that had not ended; whose end lies in a gap.
  public internal(set) var unwound: UInt64 = 0
  /// Calls that had not ended.
  public internal(set) var stillOpen: UInt64 = 0
  /// What each thread was in when its process ended, the longest first; at most `OpenStack.most`.
  public internal(set) var openStacks: [OpenStack] = []
  /// Calls whose end lies in a gap.
  public internal(set) var cutOff: UInt64 = 0
  /// Exits without an entry: damage.
  public internal(set) var unmatchedExits = 0
  /// It is known when threads were off the CPU.
  public internal(set) var hasSwitches = false
  /// Whether any function has times.
  public var hasTimes: Bool { rows.contains { $0.times != nil } }

  init() {}
}

extension Report {
  /// Reads all events of the chosen threads.
  ///
  /// All loads of one file are one module; with `eachLoad`, each is a module of its own.
  ///
  /// Memory: the functions' totals and histograms, for each worker; the length of the recording does
  /// not matter. `progress` is called with a fraction of the work, now and then.
  public init(
    of recording: Recording, choosing filter: ReadingFilter = .all,
    eachLoad: Bool = false, workers: ReadingWorkers = .all,
    progress: @escaping (Double) -> Void = { _ in }
  ) {
    let reading = RecordingReading(recording, choosing: filter, workers: workers, progress)
    let merging = ReportMerging(eachLoad: eachLoad, hasSwitches: recording.hasSwitches)
    let read = reading.run(TotalsPass(merging)).result()
    self = read.report
    hasSwitches = recording.hasSwitches
    rows = read.rows.rows()
    calls = rows.reduce(0) { $0 &+ $1.calls }
    finish(recording)
  }

  /// All threads have been read.
  mutating func finish(_ recording: Recording) {
    openStacks.sort { $0.innermost > $1.innermost }
    openStacks.removeLast(max(0, openStacks.count - OpenStack.most))
    isCorrupted = recording.isCorrupted || !problems.isEmpty
    problems = recording.problems + problems + recording.symbolProblems
    if unmatchedExits > 0 {
      problems.append("\(unmatchedExits) returns of calls that were not open")
    }
  }
}
