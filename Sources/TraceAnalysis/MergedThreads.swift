// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Units

/// One thread in a merge: how far it has been read, and which calls are open there.
public final class ThreadLane {
  /// Whose thread it is.
  public let process: ProcessRecording
  /// Index of `process` in the recording.
  public let processIndex: Int
  /// What was recorded of it.
  public let thread: ThreadRecording
  /// What is open at the moment.
  public private(set) var stack: CallStack
  private var cursor: EventCursor
  private var pending: Event?
  /// How the thread is called on each line, until a chunk has another name.
  private var kept: (name: String, label: [UInt8])?

  init(
    _ process: ProcessRecording, _ index: Int, _ thread: ThreadRecording, _ stack: CallStack,
    wantsValues: Bool
  ) {
    self.process = process
    processIndex = index
    self.thread = thread
    self.stack = stack
    cursor = thread.cursor()
    cursor.wantsValues = wantsValues
  }

  /// Damage that was found in it until now, a line each.
  public var problems: [String] { cursor.problems }
  /// The newest that the recording has.
  public var name: String { cursor.threadName }

  /// What `make` makes of the newest name.
  func label(_ make: (String) -> [UInt8]) -> [UInt8] {
    if let kept { return kept.label }
    let label = make(name)
    kept = (name, label)
    return label
  }

  /// The next event, which stays the next.
  ///
  /// The beginning of a chunk that follows seamlessly is applied and not returned.
  public func peek<Sink: CallSink>(_ sink: inout Sink) -> Event? {
    if let pending { return pending }
    while let event = cursor.next() {
      if event.kind == .chunk {
        if kept?.name != name { kept = nil }
        if event.number == 0 {
          stack.apply(event, from: cursor, to: &sink)
          continue
        }
      }
      pending = event
      return event
    }
    return nil
  }

  /// Applies the next event: the sink receives the calls that begin or end.
  public func take<Sink: CallSink>(_ sink: inout Sink) {
    guard let event = peek(&sink) else { return }
    pending = nil
    if cursor.hasValues, let values = cursor.takeValues(of: event) { sink.values(values) }
    stack.apply(event, from: cursor, to: &sink)
  }
}

/// All threads of a recording in the order of time.
///
/// A thread's file is opened when the merge reaches its first event, and closed after its last:
/// memory is needed only for the threads that are alive at the same time.
public struct MergedThreads {
  private struct Waiting {
    var time: ClockUnits
    /// Of `threads`: ties go to the first.
    var index: Int

    static func < (left: Waiting, right: Waiting) -> Bool {
      left.time != right.time ? left.time < right.time : left.index < right.index
    }
  }

  private let recording: Recording
  private let filter: ReadingFilter
  private let wantsValues: Bool
  private var threads: [(process: Int, thread: Int)] = []
  private var entryOnly: [FunctionSet?]
  /// By thread: those that are being read.
  private var lanes: [ThreadLane?] = []
  /// The earliest first.
  private var heap: [Waiting] = []
  /// Damage found on the way, one line each.
  public private(set) var problems: [String] = []

  /// The threads of `recording` that are chosen, all at their beginning. `wantsValues`: the sink gets
  /// arguments and results.
  public init(
    _ recording: Recording, choosing filter: ReadingFilter = .all, wantsValues: Bool = false
  ) {
    self.wantsValues = wantsValues
    self.recording = recording
    self.filter = filter
    entryOnly = Array(repeating: nil, count: recording.processes.count)
    for (index, process) in recording.processes.enumerated() {
      for (place, thread) in process.threads.enumerated() where filter.isChosen(process, thread) {
        guard let start = thread.startTime else { continue }
        push(Waiting(time: start, index: threads.count))
        threads.append((index, place))
      }
    }
    lanes = Array(repeating: nil, count: threads.count)
  }

  /// Calls `body` with the lane whose next event is the earliest, until there is none.
  ///
  /// `body` must take at least one event of it.
  public mutating func run<Sink: CallSink>(
    _ sink: inout Sink, _ body: (ThreadLane, inout Sink) throws -> Void
  ) rethrows {
    while let first = pop() {
      var index = first.index
      var lane = lane(index)
      while let event = lane.peek(&sink) {
        // Stay with the lane as long as its next event is the earliest.
        let now = Waiting(time: event.time, index: index)
        if let other = heap.first, other < now {
          index = other.index
          replaceFirst(now)
          lane = self.lane(index)
          continue
        }
        try body(lane, &sink)
      }
      problems += lane.problems
      lanes[index] = nil
    }
  }

  private mutating func lane(_ index: Int) -> ThreadLane {
    if let lane = lanes[index] { return lane }
    let lane = open(index)
    lanes[index] = lane
    return lane
  }

  private mutating func open(_ index: Int) -> ThreadLane {
    let (processIndex, place) = threads[index]
    let process = recording.processes[processIndex]
    let known = entryOnly[processIndex] ?? FunctionSet(process.entryOnlyFunctions())
    entryOnly[processIndex] = known
    let thread = process.threads[place]
    let stack = filter.stack(
      of: thread, in: process, entryOnly: known, recordingStart: recording.startTime)
    return ThreadLane(process, processIndex, thread, stack, wantsValues: wantsValues)
  }

  private mutating func push(_ waiting: Waiting) {
    heap.append(waiting)
    var child = heap.count - 1
    while child > 0, heap[child] < heap[(child - 1) / 2] {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  private mutating func pop() -> Waiting? {
    guard let first = heap.first, let last = heap.popLast() else { return nil }
    if !heap.isEmpty { replaceFirst(last) }
    return first
  }

  private mutating func replaceFirst(_ waiting: Waiting) {
    heap[0] = waiting
    var parent = 0
    while true {
      var least = parent
      let (left, right) = (2 * parent + 1, 2 * parent + 2)
      if left < heap.count && heap[left] < heap[least] { least = left }
      if right < heap.count && heap[right] < heap[least] { least = right }
      if least == parent { return }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}
