// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CTestSupport
import CallSites
import Foundation
import TestSupport
import Testing

@testable import LivePatching

/// Threads in every state while text changes under them.
@Suite(.ownProcess) struct ThreadTests {
  private func flip(_ patched: PatchedModule, _ times: Int, _ options: PatchOptions) throws {
    for round in 0..<times {
      try patched.set(to: round % 2 == 0 ? .nop : .original, options: options)
    }
  }

  @Test func aThreadThatBlocksTheStopSignalIsNamedAndNothingWritten() throws {
    let fixture = try PatchFixture(.clangFentry)
    let patched = try fixture.patched()
    let thread = try #require(cts_thread_start(Int32(CTS_SPINS_BLOCKING)))
    let options = PatchOptions(method: .stopMachine, stopTimeoutMilliseconds: 80)
    let error = #expect(throws: PatchError.self) { try patched.set(to: .nop, options: options) }
    #expect(
      error?.description == "\(fixture.path): thread \(cts_thread_id(thread)) did not stop in "
        + "time (does it block every signal?); nothing was written")
    #expect(fixture.textIsAsInFile)
    #expect(fixture.pagePermissions == ["r-xp"])
    // The signal that it gets now belongs to a stop that is over.
    cts_thread_unblock(thread)
    let report = try patched.set(to: .nop, options: PatchOptions(method: .stopMachine))
    #expect(report.stoppedThreads >= 1)
    try patched.set(to: .original)
    cts_thread_stop(thread)
    #expect(fixture.textIsAsInFile)
  }

  @Test func theOthersGoOnAfterAStopThatFailed() throws {
    let fixture = try PatchFixture(.clangFentry)
    let patched = try fixture.patched()
    let callers = try Callers(of: fixture, threads: 2)
    let blocking = try #require(cts_thread_start(Int32(CTS_SPINS_BLOCKING)))
    for _ in 0..<5 {
      let options = PatchOptions(method: .stopMachine, stopTimeoutMilliseconds: 20)
      #expect(throws: PatchError.self) { try patched.set(to: .nop, options: options) }
    }
    cts_thread_stop(blocking)
    #expect(callers.makeProgress())
    #expect(callers.stop() == 0)
  }

  @Test(arguments: [
    Way(method: .breakpoint, writer: .mprotect), Way(method: .stopMachine, writer: .processMemory),
  ])
  func aThreadThatBlocksSIGTRAPIsNamed(way: Way) throws {
    let fixture = try PatchFixture(.gccMcount)
    let patched = try fixture.patched()
    let thread = try #require(cts_thread_start(Int32(CTS_SLEEPS_WITHOUT_TRAP)))
    let error = #expect(throws: PatchError.self) {
      try patched.set(to: .nop, options: way.options)
    }
    #expect(
      error?.description == "\(fixture.path): thread \(cts_thread_id(thread)) blocks SIGTRAP: "
        + "an int3 would kill it; unblock it, or use the jump guard"
        + "; nothing was written")
    #expect(fixture.textIsAsInFile)
    try patched.set(to: .nop, options: PatchOptions(method: .stopMachine))
    try patched.set(to: .original, options: PatchOptions(method: .jumpGuard))
    cts_thread_stop(thread)
  }

  @Test func sleepersAreNotInterrupted() throws {
    let fixture = try PatchFixture(.clangFentry)
    let patched = try fixture.patched()
    let sleepers = try [CTS_POLLS, CTS_NAPS, CTS_WAITS].map {
      try #require(cts_thread_start(Int32($0)))
    }
    try flip(patched, 1000, PatchOptions(method: .stopMachine))
    let report = try patched.set(to: .nop, options: PatchOptions(method: .stopMachine))
    #expect(report.sleepingThreads >= 3)
    try patched.set(to: .original)
    #expect(sleepers.map { cts_thread_stop($0) } == [0, 0, 0])
    #expect(fixture.textIsAsInFile)
  }

  /// Over a run of nops no int3 is written: idle workers sleep with every signal blocked.
  @Test func aSleeperThatBlocksTrapsDoesNotBarARunOfNops() throws {
    let fixture = try PatchFixture(.gccPatchable)
    let patched = try fixture.patched()
    let thread = try #require(cts_thread_start(Int32(CTS_SLEEPS_WITHOUT_TRAP)))
    for writer in [TextWriter.mprotect, .processMemory] {
      try flip(patched, 2, PatchOptions(method: .stopMachine, writer: writer))
    }
    cts_thread_stop(thread)
    #expect(fixture.textIsAsInFile)
  }

  @Test func aSleeperThatBlocksTheStopSignalDoesNotPreventAStop() throws {
    let fixture = try PatchFixture(.gccPatchable)
    let patched = try fixture.patched()
    let sleeper = try #require(cts_thread_start(Int32(CTS_SLEEPS_BLOCKING)))
    try flip(patched, 100, PatchOptions(method: .stopMachine))
    #expect(cts_thread_stop(sleeper) == 0)
    // Also when sleepers are to be woken.
    let again = try #require(cts_thread_start(Int32(CTS_SLEEPS_BLOCKING)))
    var request = npc_stop_request(timeout_milliseconds: 60_000, wake_sleepers: true)
    var report = npc_stop_report()
    npc_patch_lock()
    let isStopped = npc_stop_threads(&request, &report)
    if isStopped { npc_resume_threads() }
    npc_patch_unlock()
    #expect(isStopped && report.asleep >= 1)
    cts_thread_stop(again)
  }

  /// Nobody can be sent the stop signal then.
  @Test func aFullQueueOfSignalsIsNamedAndNothingWritten() throws {
    let fixture = try PatchFixture(.clangFentry)
    let patched = try fixture.patched()
    let thread = try #require(cts_thread_start(Int32(CTS_SPINS)))
    try #require(cts_limit_queued_signals(0) == 0)
    let options = PatchOptions(method: .stopMachine, stopTimeoutMilliseconds: 80)
    let error = #expect(throws: PatchError.self) { try patched.set(to: .nop, options: options) }
    #expect(error?.reason == .notStopped && error?.errorNumber == EAGAIN)
    #expect(
      error?.description == "\(fixture.path): thread \(error?.thread ?? 0) could not be sent a "
        + "signal: the queue of signals stayed full (ulimit -i); nothing was written")
    #expect(fixture.textIsAsInFile)
    try #require(cts_limit_queued_signals(.max) == 0)
    try flip(patched, 2, PatchOptions(method: .stopMachine))
    cts_thread_stop(thread)
  }

  @Test func aQueueOfSignalsThatEmptiesIsWaitedFor() throws {
    let fixture = try PatchFixture(.clangFentry)
    let patched = try fixture.patched()
    let thread = try #require(cts_thread_start(Int32(CTS_SPINS)))
    try #require(npc_patch_prepare() == 0 && cts_limit_queued_signals(0) == 0)
    let isOver = DispatchSemaphore(value: 0)
    Thread {
      usleep(100_000)
      _ = cts_limit_queued_signals(.max)
      isOver.signal()
    }.start()
    let options = PatchOptions(method: .stopMachine, stopTimeoutMilliseconds: 20_000)
    try flip(patched, 2, options)
    isOver.wait()
    cts_thread_stop(thread)
    #expect(fixture.textIsAsInFile)
  }

  /// The time was over before the thread was asked to stop.
  @Test func noThreadIsNamedAfterALateSearch() throws {
    try #require(npc_patch_prepare() == 0)
    let thread = try #require(cts_thread_start(Int32(CTS_SLEEPS_THEN_SPINS)))
    var named: Int32 = -1
    #expect(cts_settles_too_late(thread, &named))
    #expect(named == 0)
    cts_thread_stop(thread)
  }

  @Test func sleepersThatAreToBeWokenAreStopped() throws {
    let thread = try #require(cts_thread_start(Int32(CTS_POLLS)))
    try #require(npc_patch_prepare() == 0)
    var request = npc_stop_request(timeout_milliseconds: 60_000, wake_sleepers: true)
    var report = npc_stop_report()
    npc_patch_lock()
    let isStopped = npc_stop_threads(&request, &report)
    if isStopped { npc_resume_threads() }
    npc_patch_unlock()
    #expect(isStopped && report.stopped >= 1)
    while cts_thread_count(thread) == 0 { usleep(1000) }
    #expect(cts_thread_stop(thread) == 1)
  }

  /// It had the stop signal pending and blocked. That it has parked must not be forgotten.
  @Test(arguments: [CTS_PARKS_AT_LOOK, CTS_PARKS_AT_SETTLE])
  func aThreadThatParksByItselfIsStopped(moment: Int) throws {
    try #require(npc_patch_prepare() == 0)
    #expect(cts_stops_while_one_parks(Int32(moment)))
  }

  /// Its status file is longer than one read of it, and the masks stand behind the groups.
  @Test(.enabled(if: geteuid() == 0, "only root may set a process's groups"))
  func aProcessOfManyGroupsIsPatched() throws {
    let fixture = try PatchFixture(.clangFentry)
    let raw = RawTransaction(fixture, [try fixture.site(of: "f12")], method: .breakpoint)
    let back = RawTransaction(
      fixture, [try fixture.site(of: "f12")], back: true, method: .breakpoint)
    for transaction in [raw, back] { transaction.transaction.stop_timeout_milliseconds = 5000 }
    // Eight bytes each: the mask is found wherever a read ends.
    let groups = (1_000_000..<1_000_700).map { gid_t($0) }
    for count in [0, 1] + Array(300..<700) {
      try #require(setgroups(count, groups) == 0)
      #expect([raw.execute().status, back.execute().status] == [0, 0], "\(count) groups")
    }
    let thread = try #require(cts_thread_start(Int32(CTS_SLEEPS_WITHOUT_TRAP)))
    raw.transaction.stop_timeout_milliseconds = 50
    let result = raw.execute()
    #expect(result.status == NPC_NOT_STOPPED && result.thread == cts_thread_id(thread))
    cts_thread_stop(thread)
    #expect(fixture.textIsAsInFile)
  }

  @Test func threadsThatComeAndGoAreFollowed() throws {
    let fixture = try PatchFixture(.gccPatchable)
    let patched = try fixture.patched()
    let churn = try #require(cts_thread_start(Int32(CTS_CHURNS)))
    let callers = try Callers(of: fixture, threads: 1)
    let before = cts_thread_count(churn)
    // Ten thousand threads and a thousand flips, whichever takes longer.
    repeat {
      try flip(patched, 1000, PatchOptions(method: .stopMachine))
    } while cts_thread_count(churn) < before + 10_000
    #expect(callers.stop() == 0)
    cts_thread_stop(churn)
    #expect(fixture.textIsAsInFile)
  }

  /// A main thread that has called pthread_exit stays in the list, and answers no signal.
  @Test func anEndedMainThreadDoesNotPreventAStop() {
    #expect(cts_stops_beside_an_ended_main())
  }

  @Test func aChildForkedInTheMiddlePatchesByItself() throws {
    let fixture = try PatchFixture(.clangFentry)
    let patched = try fixture.patched()
    let other = try PatchFixture(.gccMcount)
    let sites = Array(other.table.sites.indices)
    let there = RawTransaction(other, sites, method: .stopMachine)
    let back = RawTransaction(other, sites, back: true, method: .stopMachine)
    // What a child inherits, from the first one on.
    try #require(npc_patch_prepare() == 0)
    let forker = try #require(cts_forker_start(&there.transaction, &back.transaction))
    for way in [PatchProtocol.stopMachine, .jumpGuard] {
      try flip(patched, 300, PatchOptions(method: way))
    }
    while cts_forker_count(forker) == 0 { usleep(1000) }
    var children: UInt64 = 0
    #expect(cts_forker_stop(forker, &children) == 0)
    #expect(fixture.textIsAsInFile && other.textIsAsInFile)
  }

  /// Children that run no fork handler of ours, and one that shares all memory: whatever the text
  /// holds at that moment means what it meant.
  @Test(arguments: [CTS_RAW_FORK, CTS_VFORK])
  func childrenOfEveryKindRunTheTextWhileItChanges(kind: Int) async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String, kind = kind as Int] in
      let fixture = try PatchFixture(path: path)
      let patched = try fixture.patched()
      try patched.set(to: .nop)
      try patched.set(to: .original)
      let calls = try fixture.calls
      let children = try #require(cts_children_start(calls, calls.count, Int32(kind)))
      repeat {
        for method in [PatchProtocol.stopMachine, .jumpGuard, .breakpoint] {
          for state in [SiteState.nop, .original] {
            try patched.set(to: state, options: PatchOptions(method: method))
          }
        }
      } while cts_children_count(children) < 300
      #expect(cts_children_stop(children) == 0)
      #expect(fixture.textIsAsInFile)
    }
  }

  /// The lock that the first transaction finds held, or waited for, stays the same lock.
  @Test func theFirstTransactionLeavesTheLockAlone() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let fixture = try PatchFixture(path: path)
      let patched = try fixture.patched()
      npc_patch_lock()
      try patched.set(to: .nop)
      // Still held by this thread: another one cannot have it.
      let (isFree, thread) = (Locked(), LockedNumber())
      Thread {
        thread.value = cts_this_thread()
        npc_patch_lock()
        isFree.value = true
        npc_patch_unlock()
      }.start()
      while !isFree.value, !isWaitingForALock(thread.value) { usleep(1000) }
      #expect(!isFree.value)
      npc_patch_unlock()
      #expect(comesTrue { isFree.value })
    }
  }
}

/// Whether the thread sleeps in a futex, system call 202. 0: not yet known.
func isWaitingForALock(_ thread: Int32) -> Bool {
  let path = "/proc/self/task/\(thread)/syscall"
  return (try? String(contentsOfFile: path, encoding: .utf8).hasPrefix("202 ")) ?? false
}

/// Waits until `condition` holds; false after a minute.
func comesTrue(_ condition: () -> Bool) -> Bool {
  for _ in 0..<60_000 where !condition() { usleep(1000) }
  return condition()
}

final class Locked: @unchecked Sendable {
  private let lock = NSLock()
  private var stored = false
  var value: Bool {
    get { lock.withLock { stored } }
    set { lock.withLock { stored = newValue } }
  }
}

final class LockedNumber: @unchecked Sendable {
  private let lock = NSLock()
  private var stored: Int32 = 0
  var value: Int32 {
    get { lock.withLock { stored } }
    set { lock.withLock { stored = newValue } }
  }
}
