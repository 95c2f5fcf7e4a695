// SPDX-License-Identifier: Apache-2.0

import RecordingReader

/// What the totals of processes are put together to.
protocol MergedTotals: Sendable {
  /// For a process, none of whose threads has been read yet.
  func table(_ process: ProcessRecording) -> TotalsTable
  /// The next thread is read into the table.
  func begin(_ thread: ThreadRecording, in table: inout TotalsTable)
  /// Adds a process, all of whose threads have been read.
  mutating func add(_ table: TotalsTable, of process: ProcessRecording)
  /// Adds processes that come later in the recording.
  mutating func add(_ next: Self)
}

/// Sums up the calls of all threads.
///
/// A process is added to the merged totals when all of its threads have been read. Of the first and of
/// the last process that a pass meets, others may read threads as well.
struct TotalsPass<Merged: MergedTotals>: ReadingPass {
  private var first: ProcessTotals?
  /// Those between the first and the last.
  private var merged: Merged
  private var report = Report()
  /// Nil: it is the first.
  private var last: ProcessTotals?
  private let empty: Merged

  init(_ empty: Merged) {
    self.empty = empty
    merged = empty
  }

  mutating func begin(_ process: ProcessRecording, _ index: Int) {
    begin(ProcessTotals(process, index, empty.table(process)))
  }

  private mutating func begin(_ totals: ProcessTotals) {
    endLast()
    if first == nil { first = totals } else { last = totals }
  }

  private mutating func endLast() {
    guard let last else { return }
    merged.add(last.table, of: last.process)
    report.take(last)
    self.last = nil
  }

  mutating func read(_ events: ThreadEvents) {
    let merged = empty
    if last == nil { first?.read(events, merged) } else { last?.read(events, merged) }
  }

  mutating func add(_ next: consuming TotalsPass) {
    guard let same = next.first else { return }
    if last?.index == same.index {
      last?.add(same)
    } else if last == nil, first?.index == same.index {
      first?.add(same)
    } else {
      begin(same)
    }
    guard let newest = next.last else { return }
    endLast()
    merged.add(next.merged)
    report.add(next.report)
    last = newest
  }

  /// Everything, in the recording's order.
  consuming func result() -> (rows: Merged, report: Report) {
    endLast()
    guard let first else { return (merged, report) }
    var rows = empty
    var all = Report()
    rows.add(first.table, of: first.process)
    all.take(first)
    rows.add(merged)
    all.add(report)
    return (rows, all)
  }
}

/// The totals of one process, over as many of its threads as are read into it.
struct ProcessTotals: Sendable {
  let process: ProcessRecording
  /// Index of the process in the recording.
  let index: Int
  private(set) var table: TotalsTable
  private(set) var threads = 0
  private(set) var problems: [String] = []
  private(set) var unmatchedExits = 0
  private(set) var lostEvents: UInt64 = 0
  private(set) var openStacks: [OpenStack] = []

  init(_ process: ProcessRecording, _ index: Int, _ table: TotalsTable) {
    self.process = process
    self.index = index
    self.table = table
  }

  mutating func read(_ events: ThreadEvents, _ merged: some MergedTotals) {
    let thread = events.thread
    threads += 1
    merged.begin(thread, in: &table)
    if thread.chunkCount > 0 { readEvents(events) }
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

  private mutating func readEvents(_ events: ThreadEvents) {
    var open: [OpenStack] = []
    let wantsOpen = openStacks.count < OpenStack.most
    let end = events.read(into: &table) { stack in
      if wantsOpen { open = OpenStack.all(stack, events.thread, events.process) }
    }
    openStacks += open
    table.endThread()
    problems += end.problems
    unmatchedExits += end.unmatchedExits
    lostEvents &+= end.lostEvents
  }

  /// Adds what other threads of the process have, which come later in the recording.
  mutating func add(_ next: ProcessTotals) {
    table.add(next.table)
    threads += next.threads
    problems += next.problems
    unmatchedExits += next.unmatchedExits
    lostEvents &+= next.lostEvents
    if openStacks.count < OpenStack.most { openStacks += next.openStacks }
  }
}

extension Report {
  /// Adds what is no function's, of a process.
  fileprivate mutating func take(_ totals: ProcessTotals) {
    threads += totals.threads
    problems += totals.problems
    openStacks += totals.openStacks
    unwound += totals.table.unwound
    stillOpen += totals.table.stillOpen
    cutOff += totals.table.cutOff
    unmatchedExits += totals.unmatchedExits
    lostEvents &+= max(totals.process.lostEvents, totals.lostEvents)
  }

  /// Adds what is no function's, of processes that come later in the recording.
  fileprivate mutating func add(_ next: Report) {
    threads += next.threads
    problems += next.problems
    openStacks += next.openStacks
    unwound += next.unwound
    stillOpen += next.stillOpen
    cutOff += next.cutOff
    unmatchedExits += next.unmatchedExits
    lostEvents &+= next.lostEvents
  }
}
