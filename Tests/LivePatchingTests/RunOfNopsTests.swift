// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CTestSupport
import CallSites
import Foundation
import TestSupport
import Testing

@testable import LivePatching

/// Threads that are between two nops of a run when it changes, by every way to get there.
///
/// Each case in a process of its own: it has signal handlers, and what is not moved dies.
@Suite(.ownProcess) struct RunOfNopsTests {
  private static let nop: [UInt8] = [0x0f, 0x1f, 0x44, 0x00, 0x00]

  @Test(arguments: 1...4, TextWriter.allCases)
  func aThreadThatStandsBetweenNopsIsMovedToTheirEnd(offset: Int, writer: TextWriter) async throws {
    try await standsAndIsMoved(CTS_STANDS, offset, writer)
  }

  /// The place is in the frame that the kernel made for the handler.
  @Test(
    arguments: [
      CTS_STANDS_IN_HANDLER, CTS_STANDS_IN_OWN_STACK, CTS_STANDS_ASLEEP, CTS_STANDS_IN_NESTED,
      CTS_STANDS_AT_RETURN, CTS_STANDS_ON_SPLIT_STACK, CTS_STANDS_ON_SHARED_STACK,
      CTS_STANDS_ON_FILES_STACK,
    ], TextWriter.allCases)
  func whatASignalInterruptedBetweenNopsIsMovedToo(kind: Int, writer: TextWriter) async throws {
    try await standsAndIsMoved(kind, 2, writer)
  }

  private func standsAndIsMoved(_ kind: Int, _ offset: Int, _ writer: TextWriter) async throws {
    let path = try PatchRow.gccPatchable.fixture.build()
    await #expect(processExitsWith: .success) {
      [
        path = path as String, kind = kind as Int, offset = offset as Int,
        writer = writer.rawValue as Int32
      ] in
      let fixture = try PatchFixture(path: path)
      let site = try fixture.site(of: "empty")
      let writer = try #require(TextWriter(rawValue: writer))
      let raw = RawTransaction(fixture, [site], method: .stopMachine, writer: writer)
      let run = raw.pokes[0].address
      try #require(npc_patch_prepare() == 0)
      let stander = try #require(cts_stander_start(Int32(kind), run, Int32(offset)))
      let result = raw.execute()
      #expect(result.status == NPC_OK && result.moved == 1)
      #expect(fixture.bytes(of: site) == Self.nop)
      var isUntouched = false
      let returned = cts_stander_stop(stander, &isUntouched)
      #expect(isUntouched)
      if kind != CTS_STANDS, kind != CTS_STANDS_AT_RETURN { #expect(returned == run + 5) }
    }
  }

  /// Whoever has SIGSEGV now would get the fault of a stack that goes away: a sleeper's is not
  /// touched, and what it would return to stays.
  @Test func aSleepersFrameIsNotChangedWhereTheProgramHandlesSIGSEGV() async throws {
    let path = try PatchRow.gccPatchable.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let fixture = try PatchFixture(path: path)
      let site = try fixture.site(of: "empty")
      let raw = RawTransaction(fixture, [site], method: .stopMachine)
      raw.transaction.stop_timeout_milliseconds = 500
      try #require(npc_patch_prepare() == 0)
      #expect(cts_install_handler(SIGSEGV, Int32(CTS_PLAIN_HANDLER)) == 0)
      let run = raw.pokes[0].address
      let stander = try #require(cts_stander_start(Int32(CTS_STANDS_ASLEEP), run, 2))
      let result = raw.execute()
      #expect(result.status == NPC_THREAD_INSIDE && result.thread != 0 && result.moved == 0)
      #expect(result.rolled_back && fixture.textIsAsInFile)
      var isUntouched = false
      #expect(cts_stander_stop(stander, &isUntouched) == run + 2)
      #expect(cts_signals_handled() == 0)
      #expect(raw.execute().status == NPC_OK)
    }
  }

  /// As one in device memory, which must not be read. Here the system refuses the copy.
  @Test func aThreadWhoseStackCannotBeSearchedIsNamed() async throws {
    let path = try PatchRow.gccPatchable.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let fixture = try PatchFixture(path: path)
      let raw = RawTransaction(fixture, [try fixture.site(of: "empty")], method: .stopMachine)
      raw.transaction.stop_timeout_milliseconds = 500
      try #require(npc_patch_prepare() == 0)
      let run = raw.pokes[0].address
      let stander = try #require(cts_stander_start(Int32(CTS_STANDS_ON_SHARED_STACK), run, 2))
      #expect(cts_refuse_copies() == 0)
      let result = raw.execute()
      #expect(result.status == NPC_THREAD_INSIDE && result.thread != 0 && result.moved == 0)
      #expect(result.rolled_back && fixture.textIsAsInFile)
      var isUntouched = false
      #expect(cts_stander_stop(stander, &isUntouched) == run + 2)
      #expect(raw.execute().status == NPC_OK)
    }
  }

  /// One that wakes after the threads were stopped is stopped behind the leads.
  @Test func aSleeperThatWakesBetweenNopsIsMoved() async throws {
    let path = try PatchRow.gccPatchable.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let fixture = try PatchFixture(path: path)
      let site = try fixture.site(of: "empty")
      let raw = RawTransaction(fixture, [site], method: .stopMachine, writer: .processMemory)
      _ = raw.sabotage(CTS_LOCK_PAGE)
      try #require(npc_patch_prepare() == 0)
      let walker = try #require(cts_sleepwalker_start(raw.pokes[0].address, false))
      let result = raw.execute()
      #expect(cts_sleepwalker_stop(walker), "it stood between the nops and went on unharmed")
      #expect(result.status == NPC_OK && result.moved == 1)
      #expect(fixture.bytes(of: site) == Self.nop)
    }
  }

  /// One that sleeps in a handler with the stop signal pending. It wakes, returns to its place and
  /// parks there by itself, when the threads have been moved and the frames are about to be
  /// searched: in a search, the queries about SIGSEGV and SIGBUS come first. The queries before
  /// these two are the two at the beginning.
  @Test func aThreadThatParksByItselfBetweenNopsIsMoved() async throws {
    let path = try PatchRow.gccPatchable.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let fixture = try PatchFixture(path: path)
      let site = try fixture.site(of: "empty")
      let raw = RawTransaction(fixture, [site], method: .stopMachine)
      try #require(npc_patch_prepare() == 0)
      let run = raw.pokes[0].address
      let stander = try #require(cts_stander_start(Int32(CTS_STANDS_PENDING), run, 2))
      try #require(cts_wake_at_query(stander, 3))
      let result = raw.execute()
      #expect(cts_query_has_woken())
      #expect(result.status == NPC_OK && result.moved == 1)
      #expect(fixture.bytes(of: site) == Self.nop)
      var isUntouched = false
      // Its handler had returned to its place before.
      #expect(cts_stander_stop(stander, &isUntouched) == run + 2)
    }
  }

  /// A run of nops is written, what is read back is not it, and meanwhile a sleeper woke and stands
  /// between the new nops: the old bytes come back behind it.
  @Test func aRollBackMovesThreadsInTheNewRun() async throws {
    let path = try PatchRow.gccPatchable.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let fixture = try PatchFixture(path: path)
      let sites = [try fixture.site(of: "f12"), try fixture.site(of: "f13")]
      try fixture.patched().set(to: .nop)
      let raw = RawTransaction(
        fixture, sites, back: true, method: .stopMachine, writer: .processMemory)
      _ = raw.sabotage(CTS_LOCK_PAGE)
      let head = try #require(UnsafeMutablePointer<UInt8>(bitPattern: UInt(raw.pokes[0].address)))
      try #require(cts_change_at_read_back(head, 0x90, head + 4, 0x77) == 0)
      let walker = try #require(cts_sleepwalker_start(raw.pokes[1].address, true))
      let result = raw.execute()
      #expect(cts_sleepwalker_stop(walker) && cts_read_back_was_changed())
      #expect(result.status == NPC_READ_BACK && result.left_changed)
      #expect(result.moved == 1)
      #expect(fixture.bytes(of: sites[1]) == Self.nop)
    }
  }

  @Test func aRunOfNopsIsLeftWhileAVforkedChildLives() throws {
    let fixture = try PatchFixture(.gccPatchable)
    let patched = try fixture.patched()
    let thread = try #require(cts_thread_start(Int32(CTS_VFORKS)))
    let error = #expect(throws: PatchError.self) {
      try patched.set(to: .nop, options: PatchOptions(stopTimeoutMilliseconds: 50))
    }
    #expect(error?.reason == .threadInside)
    #expect(
      error?.description == "\(fixture.path): thread \(cts_thread_id(thread)), or its vfork "
        + "child, may be between the nops, and did not leave in time; nothing was written: "
        + "try again, or with more time")
    #expect(fixture.textIsAsInFile)
    #expect(fixture.pagePermissions == ["r-xp"])
    // One instruction is another matter.
    let calls = try PatchFixture(.clangFentry)
    try calls.patched().set(to: .nop, options: PatchOptions(method: .stopMachine))
    cts_thread_stop(thread)
    try patched.set(to: .nop)
    try patched.set(to: .original)
    #expect(fixture.textIsAsInFile)
  }

  /// As long as for a thread to stop.
  @Test func aVforkedChildThatEndsIsWaitedFor() throws {
    let fixture = try PatchFixture(.gccPatchable)
    let patched = try fixture.patched()
    let thread = try #require(cts_thread_start(Int32(CTS_VFORKS_BRIEFLY)))
    let options = PatchOptions(stopTimeoutMilliseconds: 60_000)
    try patched.set(to: .nop, options: options)
    try patched.set(to: .original, options: options)
    cts_thread_stop(thread)
    #expect(fixture.textIsAsInFile)
  }

  /// It is waited for outside of the locks: the child ends only after another thread has had both.
  @Test func othersHaveTheLocksWhileAVforkedChildIsWaitedFor() throws {
    let fixture = try PatchFixture(.gccPatchable)
    let raw = RawTransaction(fixture, [try fixture.site(of: "empty")], method: .stopMachine)
    let seen = raw.sabotage(0)
    raw.transaction.stop_timeout_milliseconds = 20_000
    let inVfork = try #require(cts_thread_start(Int32(CTS_VFORKS)))
    let ender = ChildEnder(inVfork) { seen.pointee.calls > 0 }
    #expect(raw.execute().status == NPC_OK)
    ender.wait()
    seen.deallocate()
  }

  /// The same of the library, which looks at the module under the patch lock.
  @Test func othersHaveTheLocksWhileTheLibraryWaits() throws {
    let fixture = try PatchFixture(.gccPatchable)
    let patched = try fixture.patched()
    let inVfork = try #require(cts_thread_start(Int32(CTS_VFORKS)))
    let start = ContinuousClock.now
    let ender = ChildEnder(inVfork) { ContinuousClock.now - start > .milliseconds(50) }
    try patched.set(to: .nop, options: PatchOptions(stopTimeoutMilliseconds: 20_000))
    ender.wait()
    try patched.set(to: .original)
    #expect(fixture.textIsAsInFile)
  }

  /// posix_spawn makes such a child.
  @Test func aProgramThatStartsOthersAllTheTimeIsPatched() throws {
    let fixture = try PatchFixture(.gccPatchable)
    let patched = try fixture.patched()
    let thread = try #require(cts_thread_start(Int32(CTS_SPAWNS)))
    let options = PatchOptions(stopTimeoutMilliseconds: 60_000)
    repeat {
      try patched.set(to: .nop, options: options)
      try patched.set(to: .original, options: options)
    } while cts_thread_count(thread) < 20
    cts_thread_stop(thread)
    #expect(fixture.textIsAsInFile)
  }
}

/// A thread that waits until a transaction has begun, takes the patch lock and the loader's, and
/// then ends a vfork child.
private final class ChildEnder: @unchecked Sendable {
  private let isOver = DispatchSemaphore(value: 0)
  private let inVfork: OpaquePointer
  private let hasBegun: () -> Bool

  init(_ inVfork: OpaquePointer, hasBegun: @escaping () -> Bool) {
    self.inVfork = inVfork
    self.hasBegun = hasBegun
    Thread { self.run() }.start()
  }

  private func run() {
    while !hasBegun() { usleep(1000) }
    npc_patch_lock()
    npc_patch_unlock()
    npc_modules_visit({ _, _ in true }, nil)  // dl_iterate_phdr
    cts_thread_stop(inVfork)
    isOver.signal()
  }

  func wait() { isOver.wait() }
}
