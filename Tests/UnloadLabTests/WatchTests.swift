// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CTestSupport
import CUnloadLab
import Glibc
import TestSupport
import Testing
import Units
import UnloadLab

/// One instruction, and how the CPU is expected to touch four watched bytes that hold 0x11223344.
struct Instruction: CustomTestStringConvertible, Sendable {
  var testDescription: String
  var width = 4
  var reads: Bool
  var writes: Bool
  var locked = false
  var compareFailed = false
  var after: UInt64
  var run: @Sendable (UnsafeMutableRawPointer) -> Void

  static let all: [Instruction] = loads + stores + modifies

  static let loads = [
    Instruction(testDescription: "mov 1", width: 1, reads: true, writes: false, after: 0x44) {
      _ = cts_load8($0)
    },
    Instruction(testDescription: "mov 2", width: 2, reads: true, writes: false, after: 0x3344) {
      _ = cts_load16($0)
    },
    Instruction(testDescription: "mov 4", reads: true, writes: false, after: 0x1122_3344) {
      _ = cts_load32($0)
    },
    Instruction(
      testDescription: "mov 8", width: 8, reads: true, writes: false, after: 0x1122_3344
    ) { _ = cts_load64($0) },
  ]

  static let stores = [
    Instruction(testDescription: "mov 1", width: 1, reads: false, writes: true, after: 0x99) {
      cts_store8($0, 0x99)
    },
    Instruction(testDescription: "mov 2", width: 2, reads: false, writes: true, after: 0x99) {
      cts_store16($0, 0x99)
    },
    Instruction(testDescription: "mov 4", reads: false, writes: true, after: 0x99) {
      cts_store32($0, 0x99)
    },
    Instruction(testDescription: "mov 8", width: 8, reads: false, writes: true, after: 0x99) {
      cts_store64($0, 0x99)
    },
  ]

  static let modifies = [
    Instruction(testDescription: "or", reads: true, writes: true, after: 0x1122_3345) {
      cts_or32($0, 1)
    },
    Instruction(
      testDescription: "lock or", reads: true, writes: true, locked: true, after: 0x1122_3345
    ) { cts_lock_or32($0, 1) },
    Instruction(testDescription: "xchg", reads: true, writes: true, locked: true, after: 0x99) {
      _ = cts_xchg32($0, 0x99)
    },
    Instruction(testDescription: "cmpxchg, equal", reads: true, writes: true, after: 0x99) {
      _ = cts_cmpxchg32($0, 0x1122_3344, 0x99)
    },
    Instruction(
      testDescription: "lock cmpxchg, equal", reads: true, writes: true, locked: true, after: 0x99
    ) { _ = cts_lock_cmpxchg32($0, 0x1122_3344, 0x99) },
    Instruction(
      testDescription: "lock cmpxchg, other", reads: true, writes: true, locked: true,
      compareFailed: true, after: 0x1122_3344
    ) { _ = cts_lock_cmpxchg32($0, 0x5566_7788, 0x99) },
  ]
}

@Suite(.ownProcess) struct WatchTests {
  @Test(
    "One instruction is one fault, seen with its width and direction, and runs for real",
    arguments: Instruction.all)
  func oneInstruction(_ instruction: Instruction) throws {
    let pages = Pages()
    let target = pages.start + 0x124
    target.storeBytes(of: 0x1122_3344, as: UInt32.self)
    let watch = try WatchedMemory(pages.buffer)
    instruction.run(target)
    let accesses = watch.accesses
    watch.close()
    try #require(accesses.count == 1)
    let access = accesses[0]
    #expect(access.offset == 0x124)
    #expect(access.address == CodeAddress(target))
    #expect(access.width == instruction.width)
    #expect(access.isRead == instruction.reads)
    #expect(access.isWrite == instruction.writes)
    #expect(access.errorCode & 2 == (instruction.writes ? 2 : 0))
    #expect(access.isLocked == instruction.locked)
    #expect(access.compareFailed == instruction.compareFailed)
    let mask = instruction.width == 8 ? UInt64.max : (1 << (8 * UInt64(instruction.width))) - 1
    #expect(access.valueBefore == 0x1122_3344 & mask)
    #expect(access.valueAfter == instruction.after)
    #expect(
      target.load(as: UInt32.self) & UInt32(truncatingIfNeeded: mask)
        == UInt32(truncatingIfNeeded: instruction.after & mask))
  }

  @Test func aFailingLockCmpxchgIsOneReadAndOneWriteThatChangesNothing() throws {
    let pages = Pages()
    let watch = try WatchedMemory(pages.buffer)
    #expect(cts_lock_cmpxchg32(pages.start, 7, 9) == 0)
    let counts = watch.counts
    watch.close()
    #expect(counts.accesses == 1 && counts.reads == 1 && counts.writes == 1)
    #expect(counts.unchangedLocked == 1)
    #expect(pages.start.load(as: UInt32.self) == 0)
  }

  @Test func onReadOnlyTextReadsPassAndAFailingLockCmpxchgFaultsAsAWrite() throws {
    let pages = Pages(protection: PROT_READ | PROT_WRITE | PROT_EXEC)
    pages.start.storeBytes(of: 0xc3, as: UInt8.self)  // ret
    let watch = try WatchedMemory(pages.buffer, unwatched: .readsAndFetches)
    #expect(cts_load8(pages.start) == 0xc3)
    unsafeBitCast(pages.start, to: (@convention(c) () -> Void).self)()
    #expect(watch.counts.accesses == 0)
    _ = cts_lock_cmpxchg32(pages.start, 7, 9)
    let accesses = watch.accesses
    unsafeBitCast(pages.start, to: (@convention(c) () -> Void).self)()
    watch.close()
    try #require(accesses.count == 1)
    #expect(accesses[0].errorCode == 7)  // present, write, user mode
    #expect(accesses[0].isRead && accesses[0].isWrite)
    #expect(pages.start.load(as: UInt8.self) == 0xc3)
  }

  @Test func aRepeatedStringInstructionIsOneAccessEachTime() throws {
    let pages = Pages()
    let bytes: [UInt8] = [1, 2, 3, 4, 5]
    let watch = try WatchedMemory(pages.buffer)
    cts_copy_bytes(pages.start + 8, bytes, 5)
    let accesses = watch.accesses
    watch.close()
    #expect(accesses.map(\.offset) == [8, 9, 10, 11, 12])
    #expect(accesses.allSatisfy { $0.isWrite && !$0.isRead && $0.width == 1 })
    #expect(accesses.map(\.valueAfter) == [1, 2, 3, 4, 5])
  }

  @Test("An instruction is decoded wherever it crosses into the next page", arguments: 1...6)
  func crossingInstruction(bytesInFirstPage: Int) throws {
    let code = Pages(2, protection: PROT_READ | PROT_WRITE | PROT_EXEC)
    let pages = Pages()
    pages.start.storeBytes(of: 0xfeed, as: UInt32.self)
    let load: [UInt8] = [0x8b, 0x87, 0, 0, 0, 0, 0xc3]  // mov 0x0(%rdi), %eax; ret
    let at = code.start + 4096 - bytesInFirstPage
    at.copyMemory(from: load, byteCount: load.count)
    typealias Load = @convention(c) (UnsafeRawPointer) -> UInt32
    let watch = try WatchedMemory(pages.buffer)
    #expect(unsafeBitCast(at, to: Load.self)(pages.start) == 0xfeed)
    let access = try #require(watch.accesses.first)
    watch.close()
    #expect(access.width == 4 && access.isRead && !access.isWrite)
    #expect(access.programCounter == CodeAddress(at))
  }

  @Test func anAccessAtTheEndIsClippedToTheWatch() throws {
    let pages = Pages(2)
    let watch = try WatchedMemory(.init(start: pages.start, count: 4096))
    cts_store32(pages.start + 4094, 0xaabb_ccdd)
    let accesses = watch.accesses
    watch.close()
    #expect(accesses.map(\.width) == [2])
    #expect(accesses.map(\.valueAfter) == [0xccdd])
  }

  @Test func theLogIsBoundedAndSaysWhatItLost() throws {
    let pages = Pages()
    let watch = try WatchedMemory(pages.buffer)
    for _ in 0..<Int(NUL_WATCH_LOG) + 3 { _ = cts_load8(pages.start) }
    let (counts, logged) = (watch.counts, watch.accesses.count)
    watch.close()
    #expect(counts.reads == UInt64(NUL_WATCH_LOG) + 3)
    #expect(counts.unlogged == 3)
    #expect(logged == Int(NUL_WATCH_LOG))
  }

  @Test func closedMemoryIsPlainAndAnotherWatchCountsAnew() throws {
    let pages = Pages()
    var watch = try WatchedMemory(pages.buffer)
    cts_store8(pages.start, 1)
    watch.close()
    cts_store8(pages.start, 2)
    watch = try WatchedMemory(pages.buffer)
    #expect(watch.counts.accesses == 0 && watch.accesses.isEmpty)
    #expect(cts_load8(pages.start) == 2)
    watch.close()
  }

  @Test func oneWatchAtATimeAndOnlyOfWholeMappedPages() throws {
    let pages = Pages()
    #expect(throws: WatchError.misaligned(address: address(pages.start + 8), length: 4096)) {
      _ = try WatchedMemory(.init(start: pages.start + 8, count: 4096))
    }
    // Below vm.mmap_min_addr nothing is ever mapped.
    let unmapped = UnsafeMutableRawPointer(bitPattern: 4096)
    let error = #expect(throws: WatchError.refused(address: 4096, errno: ENOMEM)) {
      _ = try WatchedMemory(.init(start: unmapped, count: 4096))
    }
    #expect(error?.description.contains("watch at 0x1000: mprotect: Cannot allocate") == true)
    let watch = try WatchedMemory(pages.buffer)
    #expect(throws: WatchError.alreadyWatching) { _ = try WatchedMemory(pages.buffer) }
    #expect(throws: WatchError.alreadyWatching) {
      _ = try E1000eDevice(at: pages.start, writeBack: .valueRead)
    }
    _ = cts_load8(pages.start)
    #expect(watch.counts.reads == 1)
    watch.close()
  }

  @Test func anInstructionFetchFromWatchedMemoryIsNotClaimed() async {
    await #expect(processExitsWith: .signal(SIGSEGV)) {
      let pages = Pages(protection: PROT_READ | PROT_WRITE | PROT_EXEC)
      pages.start.storeBytes(of: 0xc3, as: UInt8.self)
      let watch = try WatchedMemory(pages.buffer)
      unsafeBitCast(pages.start, to: (@convention(c) () -> Void).self)()
      watch.close()
    }
  }

  @Test func aFaultElsewhereIsNotClaimed() async {
    await #expect(processExitsWith: .signal(SIGSEGV)) {
      let pages = Pages(2)
      mprotect(pages.start + 4096, 4096, PROT_NONE)
      let watch = try WatchedMemory(.init(start: pages.start, count: 4096))
      cts_store8(pages.start + 4096, 1)
      watch.close()
    }
  }

  private func address(_ pointer: UnsafeMutableRawPointer) -> CodeAddress {
    CodeAddress(pointer)
  }
}
