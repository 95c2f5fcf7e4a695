// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CTestSupport
import CUnloadLab
import Foundation
import Synchronization
import TestSupport
import Testing
import UnloadLab

// Global: a signal handler captures nothing.
nonisolated(unsafe) private var watchedByte: UnsafeMutableRawPointer?
nonisolated(unsafe) private var probePipe: Int32 = -1
private let foundOpen = Atomic<Int>(0)
private let handlerRuns = Atomic<Int>(0)

@Suite(.ownProcess) struct WatchThreadTests {
  @Test func lockedInstructionsOfTwoThreadsLoseNothing() throws {
    let pages = Pages()
    let watch = try WatchedMemory(pages.buffer)
    let counter = UInt(bitPattern: pages.start)
    let rounds = 2_000
    let threads = (0..<2).map { _ in
      Thread {
        guard let at = UnsafeMutableRawPointer(bitPattern: counter) else { return }
        for _ in 0..<rounds { increment(at) }
        finished.add(1, ordering: .releasing)
      }
    }
    finished.store(0, ordering: .relaxed)
    for thread in threads { thread.start() }
    while finished.load(ordering: .acquiring) < 2 { usleep(1000) }
    let counts = watch.counts
    watch.close()
    #expect(pages.start.load(as: UInt32.self) == UInt32(2 * rounds))
    #expect(counts.accesses > 0)
    #expect(counts.writes <= counts.accesses)
  }

  @Test func aSignalNeverFindsThePagesOpen() throws {
    let pages = Pages()
    let byte = pages.start
    watchedByte = byte
    let pipe = Pipe()
    probePipe = pipe.fileHandleForWriting.fileDescriptor
    handlerRuns.store(0, ordering: .relaxed)
    foundOpen.store(0, ordering: .relaxed)
    var old = sigaction()
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in
      // The kernel reads the byte: EFAULT if the pages are closed, and no fault in user mode, where
      // this handler may have interrupted another that runs with SIGSEGV blocked.
      if write(probePipe, watchedByte, 1) == 1 { foundOpen.add(1, ordering: .relaxed) }
      handlerRuns.add(1, ordering: .relaxed)
    }
    sigaction(SIGUSR2, &action, &old)
    // libdispatch's threads, on which tests run, block all signals.
    var (unblocked, mask) = (sigset_t(), sigset_t())
    sigaddset(&unblocked, SIGUSR2)
    pthread_sigmask(SIG_UNBLOCK, &unblocked, &mask)
    // The hook holds the pages open for long, where a signal would not often fall by itself.
    let hooks = nul_watch_hooks(before: { _, _ in usleep(20) }, after: nil, context: nil)
    #expect(nul_watch_start(byte, pages.length, PROT_NONE, hooks) == 0)
    let target = pthread_self()
    finished.store(0, ordering: .relaxed)
    Thread {
      for _ in 0..<3_000 { pthread_kill(target, SIGUSR2) }
      finished.store(1, ordering: .releasing)
    }.start()
    var own = 0
    while finished.load(ordering: .acquiring) == 0 {
      _ = cts_load8(byte)
      own += 1
    }
    let counts = nul_watch_read_counts()
    #expect(nul_watch_stop(PROT_READ | PROT_WRITE) == 0)
    pthread_sigmask(SIG_SETMASK, &mask, nil)
    sigaction(SIGUSR2, &old, nil)
    #expect(handlerRuns.load(ordering: .relaxed) > 0)
    #expect(foundOpen.load(ordering: .relaxed) == 0)
    #expect(counts.reads == UInt64(own))
  }

  @Test func anInstructionThatFaultsElsewhereIsLeftToItsFixUpAndNotCounted() throws {
    let source = Pages()
    let target = Pages(protection: PROT_NONE)
    source.start.storeBytes(of: 0x5a, as: UInt8.self)
    let watch = try WatchedMemory(source.buffer)
    FixedUp.copy(target.start, source.start, 0, 1)
    #expect(cts_load8(source.start + 8) == 0)
    let accesses = watch.accesses
    watch.close()
    #expect(accesses.map(\.offset) == [8])
  }

  @Test func aWatchIsAskedBeforeAFixUp() throws {
    let pages = Pages()
    pages.start.storeBytes(of: 0x77, as: UInt32.self)
    let watch = try WatchedMemory(pages.buffer)
    #expect(FixedUp.compareWithZero(pages.start, 0, 0x99) == 0x77)
    #expect(watch.counts.unchangedLocked == 1)
    watch.close()
    mprotect(pages.start, 4096, PROT_NONE)
    #expect(FixedUp.compareWithZero(pages.start, 0, 0x99) == -1)
  }
}

/// Two functions whose one access to memory has a fix-up.
///
/// Never unmapped: fix-ups stay.
private enum FixedUp {
  typealias Copy =
    @convention(c) (UnsafeMutableRawPointer, UnsafeRawPointer, Int, _ count: Int) -> Void
  typealias Compare = @convention(c) (UnsafeMutableRawPointer, Int, UInt32) -> Int32

  nonisolated(unsafe) private static let code: UnsafeMutableRawPointer = {
    let bytes: [UInt8] = [
      0xf3, 0xa4,  // rep movsb, count in rcx
      0xc3,  // ret, where the fix-up lands
      0x31, 0xc0,  // xor %eax, %eax
      0xf0, 0x0f, 0xb1, 0x17,  // lock cmpxchg %edx, (%rdi)
      0xc3,  // ret
      0xb8, 0xff, 0xff, 0xff, 0xff, 0xc3,  // landing: mov $-1, %eax; ret
    ]
    let code = Pages.kept(protection: PROT_READ | PROT_WRITE | PROT_EXEC)
    code.copyMemory(from: bytes, byteCount: bytes.count)
    _ = npc_faults_install()
    _ = npc_faults_add_fixup(code, code + 2)
    _ = npc_faults_add_fixup(code + 5, code + 10)
    return code
  }()

  static var copy: Copy { unsafeBitCast(code, to: Copy.self) }
  static var compareWithZero: Compare { unsafeBitCast(code + 3, to: Compare.self) }
}

private let finished = Atomic<Int>(0)

private func increment(_ at: UnsafeMutableRawPointer) {
  var seen: UInt32 = 0
  while true {
    let found = cts_lock_cmpxchg32(at, seen, seen + 1)
    if found == seen { return }
    seen = found
  }
}
