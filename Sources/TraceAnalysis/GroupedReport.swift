// SPDX-License-Identifier: Apache-2.0

public import RecordingReader
import Units

/// What the rows of a report are, where they are not functions.
public enum ReportGrouping: String, CaseIterable, Sendable {
  case module, thread, process, file
}

/// The sums of a module, a thread, a process or a source file.
public struct GroupRow: Sendable {
  /// A path; a thread's or a program's name. Nil where it is not known: functions without a source line.
  ///
  /// Not safe for a terminal as it is.
  public var name: String?
  /// Of a thread or a process.
  public var pid: Int32?
  /// Of a process: the program's name and its arguments; nil where they are not known.
  public var arguments: [String]?
  /// Of a thread.
  public var tid: Int32?
  /// Calls of all of them.
  public var calls: UInt64
  /// Nanoseconds from the beginnings to the ends of the calls that are in no other call of the group on
  /// their stack: no time is counted twice. Nil where the recording does not say.
  public var total: Int?
  /// Nanoseconds in its functions, without what others used that they called. Nil where the recording does
  /// not say.
  public var selfTime: Int?
  /// The part of `selfTime` in which the thread was off the CPU; nil where that is not known.
  public var selfWait: Int?
}

extension Report {
  /// Reads all events of the chosen threads into `groups`, and leaves `rows` empty.
  ///
  /// Groups of one name in several processes are one, but threads and processes each are their own.
  /// Memory: the groups, and a number for each function of a process, for each worker.
  public init(
    of recording: Recording, by grouping: ReportGrouping,
    choosing filter: ReadingFilter = .all, workers: ReadingWorkers = .all,
    progress: @escaping (Double) -> Void = { _ in }
  ) {
    let reading = RecordingReading(recording, choosing: filter, workers: workers, progress)
    let merging = GroupMerging(grouping, hasSwitches: recording.hasSwitches)
    let read = reading.run(TotalsPass(merging)).result()
    self = read.report
    hasSwitches = recording.hasSwitches
    groups = read.rows.rows
    calls = groups.reduce(0) { $0 &+ $1.calls }
    finish(recording)
  }
}

/// Puts the groups of several processes together.
private struct GroupMerging: MergedTotals {
  private let grouping: ReportGrouping
  private let hasSwitches: Bool
  private var places: [String: Int] = [:]
  private var found: [GroupRow] = []

  init(_ grouping: ReportGrouping, hasSwitches: Bool) {
    self.grouping = grouping
    self.hasSwitches = hasSwitches
  }

  /// The longest own time first, then the most calls.
  var rows: [GroupRow] {
    found.sorted { left, right in
      let own = (left.selfTime ?? -1, right.selfTime ?? -1)
      if own.0 != own.1 { return own.0 > own.1 }
      if left.calls != right.calls { return left.calls > right.calls }
      return (left.name ?? "", left.pid ?? 0, left.tid ?? 0)
        < (right.name ?? "", right.pid ?? 0, right.tid ?? 0)
    }
  }

  func table(_ process: ProcessRecording) -> TotalsTable {
    var table = TotalsTable(process)
    switch grouping {
    case .module: table.group(by: { process.function(UInt64($0)).modulePath ?? "" })
    case .file: table.group(by: { process.function(UInt64($0)).source?.file ?? "" })
    case .process: table.group(by: { _ in "\(process.pid) \(process.incarnation)" })
    case .thread: table.group(by: { _ in "" })
    }
    return table
  }

  func begin(_ thread: ThreadRecording, in table: inout TotalsTable) {
    guard grouping == .thread else { return }
    let (serial, id, name) = (thread.serial, thread.id, thread.name)
    table.group(by: { _ in "\(serial) \(id) \(name)" })
  }

  mutating func add(_ table: TotalsTable, of process: ProcessRecording) {
    // A profile's totals are of single functions: they cannot be added.
    let hasTotals = process.tracer != .profile
    for (slot, totals) in table.totals.enumerated() where totals.calls > 0 {
      let place = place(of: row(table.groupKeys[slot], process))
      found[place].calls &+= totals.calls
      if totals.timed == 0 { continue }
      add(process.nanoseconds(ofUnits: totals.selfTime), to: &found[place].selfTime)
      if hasSwitches {
        add(process.nanoseconds(ofUnits: totals.selfWaited), to: &found[place].selfWait)
      }
      if hasTotals { add(process.nanoseconds(ofUnits: totals.total), to: &found[place].total) }
    }
  }

  mutating func add(_ next: GroupMerging) {
    for row in next.found {
      let place = place(of: row)
      found[place].calls &+= row.calls
      if let time = row.selfTime { add(time, to: &found[place].selfTime) }
      if let time = row.selfWait { add(time, to: &found[place].selfWait) }
      if let time = row.total { add(time, to: &found[place].total) }
    }
  }

  /// Where a group like this one is, or is begun.
  private mutating func place(of row: GroupRow) -> Int {
    let isShared = row.pid == nil
    if isShared, let known = places[row.name ?? ""] { return known }
    found.append(
      GroupRow(
        name: row.name, pid: row.pid, arguments: row.arguments, tid: row.tid, calls: 0))
    if isShared { places[row.name ?? ""] = found.count - 1 }
    return found.count - 1
  }

  private func add(_ time: Int, to sum: inout Int?) { sum = (sum ?? 0) &+ time }

  private func row(_ key: String, _ process: ProcessRecording) -> GroupRow {
    var row = GroupRow(name: key.isEmpty ? nil : key, calls: 0)
    switch grouping {
    case .module, .file: break
    case .process:
      row.pid = process.pid
      row.name = process.program
      row.arguments = process.arguments
    case .thread:
      let words = key.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
      row.pid = process.pid
      row.tid = words.count > 1 ? Int32(words[1]) : nil
      row.name = words.count > 2 && !words[2].isEmpty ? String(words[2]) : nil
    }
    return row
  }
}
