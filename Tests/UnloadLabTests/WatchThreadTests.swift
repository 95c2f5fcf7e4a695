// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CUnloadLab
import Foundation
import Synchronization
import TestSupport
import Testing
import UnloadLab

// What a signal handler of the tests needs: C functions that capture nothing.
nonisolated(unsafe) private var watchedByte: UnsafeMutableRawPointer?
nonisolated(unsafe) private var destination: UnsafeMutableRawPointer?
nonisolated(unsafe) private var foreignFault = ForeignFault.mapsThePage
private let handlerRuns = Atomic<Int>(0)

@Suite(.exclusive) struct WatchThreadTests {
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
    handlerRuns.store(0, ordering: .relaxed)
    var old = sigaction()
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in
      if let watchedByte { _ = nul_load8(watchedByte) }
      handlerRuns.add(1, ordering: .relaxed)
    }
    sigaction(SIGUSR2, &action, &old)
    // libdispatch's threads, on which tests run, block all signals.
    var (unblocked, mask) = (sigset_t(), sigset_t())
    sigaddset(&unblocked, SIGUSR2)
    pthread_sigmask(SIG_UNBLOCK, &unblocked, &mask)
    let watch = try WatchedMemory(pages.buffer)
    let target = pthread_self()
    finished.store(0, ordering: .relaxed)
    Thread {
      for _ in 0..<3_000 { pthread_kill(target, SIGUSR2) }
      finished.store(1, ordering: .releasing)
    }.start()
    var own = 0
    while finished.load(ordering: .acquiring) == 0 {
      _ = nul_load8(byte)
      own += 1
    }
    let counts = watch.counts
    watch.close()
    pthread_sigmask(SIG_SETMASK, &mask, nil)
    sigaction(SIGUSR2, &old, nil)
    let inHandler = handlerRuns.load(ordering: .relaxed)
    #expect(inHandler > 0)
    #expect(counts.reads == UInt64(own + inHandler))
  }

  @Test(
    "An instruction that faults elsewhere is left to others, and seen only if it runs",
    arguments: [ForeignFault.mapsThePage, .skipsTheInstruction])
  func faultElsewhere(_ answer: ForeignFault) throws {
    let source = Pages()
    let target = Pages(protection: PROT_NONE)
    #expect(npc_faults_install() == 0)
    #expect(npc_faults_add(answerForeignFault) == 0)
    (destination, foreignFault) = (target.start, answer)
    source.start.storeBytes(of: 0x5a, as: UInt8.self)
    let watch = try WatchedMemory(source.buffer)
    nul_copy_bytes(target.start, source.start, 1)
    #expect(nul_load8(source.start + 8) == 0)
    let accesses = watch.accesses
    watch.close()
    destination = nil
    mprotect(target.start, 4096, PROT_READ)
    let ran = answer == .mapsThePage
    #expect(accesses.map(\.offset) == (ran ? [0, 8] : [8]))
    #expect(target.start.load(as: UInt8.self) == (ran ? 0x5a : 0))
  }
}

/// What another handler does about a fault that a stepped `rep movsb` causes at its destination.
enum ForeignFault { case mapsThePage, skipsTheInstruction }

private let answerForeignFault: npc_fault_handler = { signal, info, context in
  guard signal == SIGSEGV, let destination, let context,
    info?.pointee._sifields._sigfault.si_addr == destination
  else { return false }
  if foreignFault == .skipsTheInstruction {
    npc_fault_set_pc(context, npc_fault_pc(context) + 2)  // f3 a4
    return true
  }
  return mprotect(destination, 4096, PROT_READ | PROT_WRITE) == 0
}

private let finished = Atomic<Int>(0)

private func increment(_ at: UnsafeMutableRawPointer) {
  var seen: UInt32 = 0
  while true {
    let found = nul_lock_cmpxchg32(at, seen, seen + 1)
    if found == seen { return }
    seen = found
  }
}
