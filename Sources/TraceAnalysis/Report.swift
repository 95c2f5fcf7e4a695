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
  /// Memory: the functions' totals and histograms; the length of the recording does not matter.
  /// `progress` is called with a fraction of the work, now and then.
  public init(
    of recording: Recording, choosing filter: ReadingFilter = .all,
    eachLoad: Bool = false, progress: @escaping (Double) -> Void = { _ in }
  ) {
    hasSwitches = recording.hasSwitches
    var merging = ReportMerging(eachLoad: eachLoad, hasSwitches: hasSwitches)
    var meter = ProgressMeter(recording, progress)
    for process in recording.processes {
      var reader = ThreadTotalsReader(process, filter, recording.startTime)
      for thread in process.threads where filter.isChosen(process, thread) {
        reader.read(thread, &meter)
        threads += 1
      }
      merging.add(reader.table, of: process)
      take(reader, of: process)
    }
    rows = merging.rows()
    calls = rows.reduce(0) { $0 &+ $1.calls }
    finish(recording)
  }

  /// Adds what is no function's.
  mutating func take(_ reader: ThreadTotalsReader, of process: ProcessRecording) {
    problems += reader.problems
    openStacks += reader.openStacks
    unwound += reader.table.unwound
    stillOpen += reader.table.stillOpen
    cutOff += reader.table.cutOff
    unmatchedExits += reader.unmatchedExits
    lostEvents &+= max(process.lostEvents, reader.lostEvents)
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

/// Reports how far a pass over a recording is, by chunks.
struct ProgressMeter {
  private let total: Int
  private var done = 0
  private let tell: (Double) -> Void

  init(_ recording: Recording, _ tell: @escaping (Double) -> Void, passes: Int = 1) {
    total =
      passes
      * recording.processes.reduce(0) { sum, process in
        process.threads.reduce(sum) { $0 + $1.chunkCount }
      }
    self.tell = tell
  }

  mutating func chunk() {
    done += 1
    tell(Double(done) / Double(max(1, total)))
  }
}

/// Reads the threads of one process into one table.
struct ThreadTotalsReader {
  var table: TotalsTable
  private(set) var problems: [String] = []
  private(set) var unmatchedExits = 0
  private(set) var lostEvents: UInt64 = 0
  private(set) var openStacks: [OpenStack] = []
  private let process: ProcessRecording
  private let entryOnly: FunctionSet
  private let filter: ReadingFilter
  private let recordingStart: ClockUnits
  /// Each thread is a group.
  var isByThread = false

  init(_ process: ProcessRecording, _ filter: ReadingFilter, _ recordingStart: ClockUnits) {
    self.process = process
    self.filter = filter
    self.recordingStart = recordingStart
    table = TotalsTable(process)
    entryOnly = FunctionSet(process.entryOnlyFunctions())
  }

  mutating func read(_ thread: ThreadRecording, _ meter: inout ProgressMeter) {
    if thread.chunkCount > 0 { readEvents(thread, &meter) }
    if thread.hasCallTree {
      problems += thread.forEachTreeNode { index, node in
        // The root stands for the thread, not for a function.
        if index > 0 { table.add(node) }
      }
    }
    if thread.hasProfile {
      let hasTimes = process.tracer != .hits
      problems += thread.forEachProfileEntry { table.add($0, hasTimes: hasTimes) }
    }
  }

  private mutating func readEvents(_ thread: ThreadRecording, _ meter: inout ProgressMeter) {
    var cursor = thread.cursor()
    var stack = filter.stack(
      of: thread, in: process, entryOnly: entryOnly, recordingStart: recordingStart)
    while let event = cursor.next() {
      if event.kind == .chunk { meter.chunk() }
      stack.apply(event, from: cursor, to: &table)
    }
    if openStacks.count < OpenStack.most {
      openStacks += OpenStack.all(stack, thread, process)
    }
    stack.finish(&table, at: process.openCallsEnd)
    table.endThread()
    problems += cursor.problems
    unmatchedExits += stack.unmatchedExits
    lostEvents &+= stack.lostEvents
  }
}
