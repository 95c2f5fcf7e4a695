// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TraceAnalysis

/// Feeds one format's writer with the chosen threads of a recording, one after the other.
///
/// Memory: the open calls of one thread and the functions' names, whatever the recording's length.
struct SliceExport<Writer: SliceWriter> {
  private(set) var stream: SliceStream<Writer>
  private var problems: [String] = []
  private var doneChunks = 0
  private var allChunks = 0

  /// `wantsValues`: the format has room for arguments and results.
  init(_ writer: Writer, _ recording: Recording, wantsValues: Bool) {
    stream = SliceStream(writer, ValueCache(recording, isOn: wantsValues))
  }

  var writer: Writer {
    get { stream.writer }
    set { stream.writer = newValue }
  }
  var functions: ExportedFunctions { stream.functions }

  mutating func run(
    _ recording: Recording, choosing filter: ReadingFilter, progress: (Double) throws -> Void
  ) throws -> ExportSummary {
    let origin = recording.startTime
    allChunks = recording.processes.reduce(0) { sum, process in
      process.threads.reduce(sum) { $0 + ($1.chunkCount) }
    }
    for (index, process) in recording.processes.enumerated() {
      var lost: UInt64 = 0
      let set = FunctionSet(process.entryOnlyFunctions())
      let clock = ExportClock(origin: origin, scale: process.scale)
      stream.begin(process, index, clock, set)
      for thread in process.threads where filter.isChosen(process, thread) && thread.chunkCount > 0
      {
        let exported = ExportedThread(process, thread, clock)
        let stack = filter.stack(
          of: thread, in: process, entryOnly: set, recordingStart: origin)
        lost &+= try read(exported, stack, progress)
      }
      stream.summary.lostEvents &+= max(lost, process.lostEvents)
    }
    if stream.stopped > 0 {
      problems.append(
        "\(stream.stopped) events are older than the one before: calls there are shown too short"
      )
    }
    stream.summary.functions = stream.functions.all.count
    stream.summary.problems = recording.problems + problems + recording.symbolProblems
    return stream.summary
  }

  /// The events of the thread that were lost.
  private mutating func read(
    _ exported: ExportedThread, _ stack: CallStack, _ progress: (Double) throws -> Void
  ) throws -> UInt64 {
    var cursor = exported.thread.cursor()
    cursor.wantsValues = stream.values.isOn
    var stack = stack
    stream.beginThread()
    try stream.writer.begin(exported)
    while let event = cursor.next() {
      if cursor.hasValues, let values = cursor.takeValues(of: event) { stream.values(values) }
      if event.kind == .entry || event.kind == .exit {
        stack.apply(event, from: cursor, to: &stream)
        continue
      }
      let before = stack.lostEvents
      let isGap = event.kind == .chunk && event.number != 0 && stack.time > .zero
      stack.apply(event, from: cursor, to: &stream)
      if isGap || stack.lostEvents > before {
        stream.lost(stack.lostEvents - before, at: event.time)
      }
      if event.kind == .chunk { try endOfChunk(progress) }
    }
    stack.finish(&stream, at: exported.process.openCallsEnd)
    try stream.writer.end(exported, at: stream.lastTime)
    stream.summary.threads += 1
    problems += cursor.problems
    return stack.lostEvents
  }

  private mutating func endOfChunk(_ progress: (Double) throws -> Void) throws {
    doneChunks += 1
    try stream.writer.check()
    try progress(Double(doneChunks) / Double(max(1, allChunks)))
  }
}
