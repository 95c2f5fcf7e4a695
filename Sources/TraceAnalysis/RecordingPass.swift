// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import Synchronization
import Units

/// What is made of the threads of a recording, of some or of all.
///
/// A pass that has read some threads takes in the pass that has read those that follow. What comes
/// out must be the same for any place at which the threads are divided, as far as limits and sums of
/// Doubles allow: those depend on the division, and it depends on the recording alone.
protocol ReadingPass: Sendable {
  /// The threads that follow are those of this process; it may have none.
  mutating func begin(_ process: ProcessRecording, _ index: Int)
  /// The next thread.
  mutating func read(_ events: ThreadEvents)
  /// Adds what was made of the threads that follow. They may begin within the last process.
  mutating func add(_ next: consuming Self)
}

/// Reads the chosen threads of a recording, in parallel where it is long, as often as needed.
///
/// The threads are divided into parts of neighbours, about 16 at most. Each worker takes the next part,
/// reads its threads one after the other, and adds the result to that of the neighbours once they
/// are there. So the recording's length is of no matter for the memory: it is that of one part for each
/// worker, and of those that wait for a neighbour.
struct RecordingReading {
  private let recording: Recording
  private let filter: ReadingFilter
  private let workers: ReadingWorkers
  private let tell: (Double) -> Void
  private let count: ChunkMeter.Count
  private let parts: [Range<Int>]
  private let items: [ReadingItem]

  /// `tell` is called by this thread, with a fraction of the work of all passes.
  init(
    _ recording: Recording, choosing filter: ReadingFilter, workers: ReadingWorkers,
    passes: Int = 1, _ tell: @escaping (Double) -> Void
  ) {
    self.recording = recording
    self.filter = filter
    self.workers = workers
    self.tell = tell
    items = ReadingItem.all(recording, filter)
    parts = ReadingItem.divided(items, leastChunks: workers.leastChunks)
    count = ChunkMeter.Count(of: passes * items.reduce(0) { $0 + $1.chunks })
  }

  /// One pass: `empty` has read nothing yet.
  func run<Pass: ReadingPass>(_ empty: Pass) -> Pass {
    let board = PartBoard<Pass>(parts.indices.map { self.isLarge(parts[$0]) })
    let work = PartReader(
      recording: recording, filter: filter, items: items, parts: parts, board: board, empty: empty)
    let others = (1..<max(1, min(workers.count, parts.count))).compactMap { [count] _ in
      WorkerThread { work.run(ChunkMeter(count: count, tell: nil)) }
    }
    work.run(ChunkMeter(count: count, tell: tell))
    for other in others { other.join() }
    return board.takeWhole() ?? empty
  }

  /// It would keep one worker busy at the end, when the others have nothing left to do.
  private func isLarge(_ part: Range<Int>) -> Bool {
    let all = items.reduce(0) { $0 + $1.chunks }
    return items[part].reduce(0) { $0 + $1.chunks } > all / 8
  }
}

/// A chosen thread, or a process, whose threads follow.
private struct ReadingItem {
  var process: Int
  /// Nil: the process begins.
  var thread: Int?
  var chunks = 0

  static func all(_ recording: Recording, _ filter: ReadingFilter) -> [ReadingItem] {
    var items: [ReadingItem] = []
    for (index, process) in recording.processes.enumerated() {
      items.append(ReadingItem(process: index))
      for (place, thread) in process.threads.enumerated() where filter.isChosen(process, thread) {
        items.append(ReadingItem(process: index, thread: place, chunks: thread.chunkCount))
      }
    }
    return items
  }

  /// Neighbours, until they have a sixteenth of all chunks.
  static func divided(_ items: [ReadingItem], leastChunks: Int) -> [Range<Int>] {
    let all = items.reduce(0) { $0 + $1.chunks }
    let enough = max(leastChunks, all / 16)
    var parts: [Range<Int>] = []
    var (start, chunks) = (0, 0)
    for (index, item) in items.enumerated() {
      chunks += item.chunks
      if chunks < enough { continue }
      parts.append(start..<index + 1)
      (start, chunks) = (index + 1, 0)
    }
    if start < items.count { parts.append(start..<items.count) }
    return parts
  }
}

/// What a worker needs to read parts until there is none.
private struct PartReader<Pass: ReadingPass>: Sendable {
  let recording: Recording
  let filter: ReadingFilter
  let items: [ReadingItem]
  let parts: [Range<Int>]
  let board: PartBoard<Pass>
  let empty: Pass

  func run(_ meter: ChunkMeter) {
    while let part = board.next() { board.finish(part, read(items[parts[part]], meter)) }
  }

  private func read(_ items: ArraySlice<ReadingItem>, _ meter: ChunkMeter) -> Pass {
    var pass = empty
    var current: (index: Int, process: ProcessRecording, entryOnly: FunctionSet)?
    for item in items {
      if current?.index != item.process {
        let process = recording.processes[item.process]
        pass.begin(process, item.process)
        current = (item.process, process, FunctionSet(process.entryOnlyFunctions()))
      }
      guard let place = item.thread, let (index, process, entryOnly) = current else { continue }
      pass.read(
        ThreadEvents(
          process: process, processIndex: index, thread: process.threads[place],
          threadIndex: place, entryOnly: entryOnly, filter: filter,
          recordingStart: recording.startTime, meter: meter))
    }
    return pass
  }
}

/// Which parts are left, and what was made of those that are read.
///
/// Results are added up as a binary tree: two neighbours make one of the level above. Its shape does
/// not depend on who is ready when, and so neither does the result.
private final class PartBoard<Pass: ReadingPass>: Sendable {
  private struct Place: Hashable {
    var level: Int
    var index: Int
  }

  private struct State {
    var left: [Int]
    var waiting: [Place: Pass] = [:]
    var whole: Pass?
  }

  private let count: Int
  private let state: Mutex<State>

  /// Which of the parts are large: those are read first.
  init(_ isLarge: [Bool]) {
    count = isLarge.count
    let order = isLarge.indices.filter { isLarge[$0] } + isLarge.indices.filter { !isLarge[$0] }
    state = Mutex(State(left: order.reversed()))
  }

  /// The sum of all, once; nil where there was no part.
  func takeWhole() -> Pass? { state.withLock { $0.whole.take() } }

  /// A part that nobody has read.
  func next() -> Int? { state.withLock { $0.left.popLast() } }

  /// Adds the result to its neighbour's, if that is there, and so on upwards.
  func finish(_ part: Int, _ result: consuming Pass) {
    var place = Place(level: 0, index: part)
    var result = result
    while (count - 1) >> place.level > 0 {
      let isLeft = place.index % 2 == 0
      let neighbour = Place(level: place.level, index: place.index ^ 1)
      if neighbour.index <= (count - 1) >> place.level {
        guard var other = take(neighbour, orLeave: result, at: place) else { return }
        if isLeft {
          result.add(other)
        } else {
          other.add(result)
          result = other
        }
      }
      place = Place(level: place.level + 1, index: place.index / 2)
    }
    state.withLock { $0.whole = result }
  }

  private func take(_ neighbour: Place, orLeave result: Pass, at place: Place) -> Pass? {
    state.withLock { state in
      let other = state.waiting.removeValue(forKey: neighbour)
      if other == nil { state.waiting[place] = result }
      return other
    }
  }
}
