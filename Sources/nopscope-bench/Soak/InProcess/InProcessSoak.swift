// SPDX-License-Identifier: Apache-2.0
//
// Live patching in this process: two threads load and unload, one toggles, one runs an engine, one
// forks, four call functions and check what they return, and a signal comes each millisecond. In
// the end every module's text is compared with its file.

import Audit
import CSoak
import Glibc
import LivePatching
import MachineCode
import Synchronization

struct InProcessSoak {
  let seed: UInt64
  let seconds: Int
  let libraries: SoakLibraries
  /// For files that are replaced and deleted.
  let folder: String
  let tally = SoakTally()

  private static let loaders = 2
  private static let slotsOfLoader = 3
  private static let workers = 4

  /// Ends this process with status 1 at the first deviation.
  private func must(_ body: () throws -> Void) {
    do { try body() } catch { Self.report(error) }
  }

  private static func report(_ error: any Error) -> Never {
    var text = "deviation: \(error)\n"
    let wrong = csk_what_was_wrong()
    if wrong.results > 0 || wrong.children > 0 { text += "and: \(describe(wrong))\n" }
    text.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
    _exit(1)
  }

  private static func describe(_ wrong: csk_wrong) -> String {
    "\(wrong.results) wrong results, the last of f\(wrong.function)(\(wrong.argument)) in slot "
      + "\(wrong.slot): expected \(wrong.expected), found \(wrong.found); \(wrong.children) children "
      + "that ended wrongly, the last with status \(wrong.last_status)"
  }

  private func checkCalls() throws(SoakDeviation) {
    let wrong = csk_what_was_wrong()
    if wrong.results > 0 || wrong.children > 0 {
      throw SoakDeviation(description: Self.describe(wrong))
    }
  }

  func run() throws {
    guard let slots = csk_slots() else { throw SoakDeviation(description: "no memory for slots") }
    // The engine first: it plants the loader's hook.
    let loaded = Self.loaders * Self.slotsOfLoader
    let share = SoakLibraries.count / 3
    let engine = try SoakEngine(
      slot: csk_slot_at(slots, loaded), libraries: libraries,
      indices: (2 * share)..<(2 * share + 12), seed: seed, tally: tally)
    let shared = (0..<loaded).map { SoakSlot(csk_slot_at(slots, $0)) }
    let loaders = try (0..<Self.loaders).map { index in
      try SoakLoader(
        slots: Array(shared[(index * Self.slotsOfLoader)...].prefix(Self.slotsOfLoader)),
        libraries: libraries, indices: (index * share)..<((index + 1) * share), folder: folder,
        seed: seed, stream: UInt64(10 + index), tally: tally)
    }
    let toggler = SoakToggler(slots: shared, seed: seed, tally: tally)
    try runThreads(slots, loaded + 1, toggler, loaders, engine)
    tally.add("SIGPROF in the middle of it", Int(csk_profiling_signals()))
    tally.add(
      "calls with a checked result",
      (0...loaded).reduce(0) { sum, slot in
        (0..<SoakLibraries.functionCount).reduce(sum) {
          $0 + Int(csk_calls(csk_slot_at(slots, slot), $1))
        }
      })
    try checkCalls()
    try auditArmed(shared)
    for loader in loaders { try loader.closeAll() }
    try engine.end()
    try auditRestored()
  }

  private func runThreads(
    _ slots: OpaquePointer, _ count: Int, _ toggler: SoakToggler, _ loaders: [SoakLoader],
    _ engine: SoakEngine
  ) throws {
    let deadline = monotonicMilliseconds() + seconds * 1000
    func repeated(_ body: @escaping () throws -> Void) throws -> SoakThread {
      try SoakThread {
        self.must { while monotonicMilliseconds() < deadline { try body() } }
      }
    }
    guard csk_workers_start(slots, count, Int32(Self.workers), seed) == 0,
      csk_profiling_start(slots, count) == 0
    else { throw SoakDeviation(description: "no threads, or no timer") }
    var threads = [try repeated(toggler.turn), try repeated(engine.turn)]
    for loader in loaders { threads.append(try repeated(loader.turn)) }
    var generator = SoakGenerator(seed: seed, stream: 3)
    threads.append(
      try repeated {
        let way = csk_way(UInt32(generator.below(Int(CSK_WAYS_TO_FORK.rawValue))))
        if csk_fork(slots, generator.below(count), way) {
          tally.add(["forks", "raw forks", "vforks with an exec"][Int(way.rawValue)])
        }
        try checkCalls()
        usleep(UInt32(generator.below(4000)))
      })
    for thread in threads { thread.join() }
    csk_profiling_stop()
    csk_workers_stop()
  }

  // MARK: - The audit

  /// With sites armed: nothing differs but what the journals say.
  private func auditArmed(_ slots: [SoakSlot]) throws {
    let changes = slots.compactMap(\.generation).flatMap { $0.patched.changes }
    let report = try auditText(
      of: getpid(), known: changes + (LoaderHook.change.map { [$0] } ?? []))
    guard report.unknownDifferences.isEmpty else {
      throw Self.deviation(report.unknownDifferences)
    }
    guard report.absentChanges.isEmpty else {
      throw SoakDeviation(
        description: "\(report.absentChanges.count) changes that the journals know are not there")
    }
    tally.add("audits: bytes that differ as the journals say", Int(report.bytesDiffering))
  }

  /// Everything was taken back: nothing differs.
  private func auditRestored() throws {
    try LoaderHook.remove()
    let report = try auditText(of: getpid())
    guard report.differences.isEmpty else { throw Self.deviation(report.differences) }
    tally.add("audits: bytes compared", Int(report.bytesCompared))
    tally.add("audits: bytes that differ in the end", Int(report.bytesDiffering))
  }

  private static func deviation(_ differences: [TextDifference]) -> SoakDeviation {
    SoakDeviation(
      description: "text that is not the file's:\n"
        + differences.prefix(50).map { "  \($0)" }.joined(separator: "\n"))
  }
}
