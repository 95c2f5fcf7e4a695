// SPDX-License-Identifier: Apache-2.0

import CTestSupport
import CUnloadLab
import TestSupport
import Testing
import UnloadLab

@Suite(.ownProcess) struct E1000eDriverTests {
  @Test func theDriverReadsTheNVMAndItsSumIsBABA() throws {
    let block = try Block()
    let driver = try E1000eDriver(block.device)
    let words = try driver.readWords(from: 0x0a, count: 5)
    #expect(words == [0x10c3, 0x0000, 0x8086, 0x10f5, 0x8086])
    #expect(try driver.validate() == 0xBABA)
    #expect(block.device.nvm == .init(validBank: 0, sum: 0xBABA))
  }

  @Test func theDriverTouchesTheDeviceByItsRegistersAlone() throws {
    let block = try Block()
    let driver = try E1000eDriver(block.device)
    let before = block.device.counts
    _ = try driver.readWords(from: 0, count: 1)
    let after = block.device.counts
    #expect(after.cycles - before.cycles == 2)  // the bank's signature, then the word
    #expect(after.writes - before.writes == 2 * 5)  // clear, FDONE, HSFCTL, FADDR, FGO
    #expect(after.failedCompares == 0)
  }

  @Test func aCommitMovesToTheOtherBankAndBack() throws {
    let block = try Block()
    let driver = try E1000eDriver(block.device)
    var image = try driver.readWords(from: 0, count: 0x40)
    for bank in [1, 0] {
      image[0] &+= 0x1100
      try driver.commit(image)
      #expect(block.device.nvm == .init(validBank: bank, sum: 0xBABA))
      #expect(try driver.readWords(from: 0, count: 1) == [image[0]])
      #expect(try driver.validate() == 0xBABA)
    }
    #expect(block.device.counts.erases == 2)
  }

  @Test func throughoutACommitOneBankIsValidAndWhole() throws {
    let block = try Block()
    let driver = try E1000eDriver(block.device)
    let image = try driver.readWords(from: 0, count: 0x40)
    let device = block.device
    for _ in 0..<2 {
      var broken = 0
      driver.onCycleStarted { if !device.nvm.isIntact { broken += 1 } }
      try driver.commit(image)
      #expect(broken == 0)
    }
  }

  @Test("A commit that fails half-way leaves the old bank", arguments: [2, 20, 100])
  func failingCommit(cycle: Int) throws {
    let block = try Block()
    let driver = try E1000eDriver(block.device)
    let image = try driver.readWords(from: 0, count: 0x40)
    let start = block.pages.start
    var cycles = 0
    driver.onCycleStarted {
      cycles += 1
      if cycles == cycle { cts_store16(start + 4, UInt16(E1000E_FDONE)) }
    }
    #expect(throws: E1000eDriverError.timedOut) { try driver.commit(image) }
    #expect(cycles == cycle)
    #expect(block.device.nvm == .init(validBank: 0, sum: 0xBABA))
  }

  @Test func aWriteThatBreaksTheSumIsFoundInTheDriversOwnWords() throws {
    let block = try Block()
    let driver = try E1000eDriver(block.device)
    try driver.write([0x00], bank: 0, offset: 1)  // was 0x00: nothing changes
    #expect(try driver.validate() == 0xBABA)
    try driver.write([0x00], bank: 0, offset: 0)
    let before = block.device.counts.cycles
    let error = #expect(throws: E1000eDriverError.badChecksum) { try driver.validate() }
    #expect(error?.description == "e1000e: The NVM Checksum Is Not Valid")
    #expect(block.device.counts.cycles - before == 3 * (1 + 0x40))
    #expect(!block.device.nvm.isIntact)
  }

  @Test func erasedNVMHasNoBankAndNoSum() throws {
    let block = try Block()
    let driver = try E1000eDriver(block.device)
    try driver.eraseBlock(bank: 0, offset: 0x20)
    #expect(block.device.nvm == .init(validBank: nil, sum: 0xffc0))
    #expect(throws: E1000eDriverError.badChecksum) { try driver.validate() }
  }

  @Test func writeProtectionHoldsAndReadingGoesOn() throws {
    let block = try Block()
    let driver = try E1000eDriver(block.device)
    try driver.writeProtect()
    let flash = block.device.flash
    #expect(throws: E1000eDriverError.cycleError) { try driver.eraseBlock(bank: 0, offset: 0) }
    #expect(throws: E1000eDriverError.cycleError) {
      try driver.write([0], bank: 1, offset: 0)
    }
    #expect(block.device.counts.refused == 2 * 10)  // ten tries each
    #expect(block.device.flash == flash)
    #expect(try driver.validate() == 0xBABA)
  }

  @Test func protectionThatComesAfterAForeignLockIsReported() throws {
    let block = try Block()
    let driver = try E1000eDriver(block.device)
    block.write16(E1000E_HSFSTS.signed, E1000E_FLOCKDN.value)
    #expect(throws: E1000eDriverError.notLocked) { try driver.writeProtect() }
  }

  @Test func aPartWithoutADescriptorIsRefused() throws {
    let block = try Block(hasDescriptor: false)
    #expect(throws: E1000eDriverError.noDescriptor) { _ = try E1000eDriver(block.device) }
  }

  @Test func theDriverWaitsForABusyDeviceButNotForEver() throws {
    let block = try Block(busyReads: 8)
    let driver = try E1000eDriver(block.device)
    driver.pollLimit = 10
    #expect(try driver.readWords(from: 0, count: 1) == [0x0002])
    driver.pollLimit = 3
    #expect(throws: E1000eDriverError.timedOut) { try driver.readWords(from: 0, count: 1) }
    #expect(throws: E1000eDriverError.busy) { try driver.readWords(from: 0, count: 1) }
  }

  @Test(
    "Nothing beyond the bank is touched",
    arguments: [
      (2, 0, 1), (0, 4096, 1), (1, 4095, 2), (0, 0, 4097),
    ])
  func badRange(bank: Int, offset: Int, count: Int) throws {
    let block = try Block()
    let driver = try E1000eDriver(block.device)
    let before = block.device.counts
    #expect(throws: E1000eDriverError.badRange) {
      try driver.write([UInt8](repeating: 0, count: count), bank: bank, offset: offset)
    }
    #expect(block.device.counts == before)
  }
}

/// The engine of 2.6.27 compares with four bytes of a call, and finds a register.
@Suite(.ownProcess) struct E1000eStrayWriteTests {
  private static let callBytes: UInt32 = 0xffff_fce8
  private static let nopBytes: UInt32 = 0x0044_1f0f

  private func strayCmpxchg(_ block: borrowing Block, at offset: Int) {
    _ = cts_lock_cmpxchg32(block.pages.start + offset, Self.callBytes, Self.nopBytes)
  }

  @Test(
    "A stray lock cmpxchg is one fault, a write: one read and one write-back",
    arguments: E1000eDevice.WriteBack.allCases)
  func oneFault(writeBack: E1000eDevice.WriteBack) throws {
    let block = try Block(writeBack: writeBack)
    strayCmpxchg(block, at: 0x54)
    let accesses = block.device.accesses
    #expect(accesses.count == 1)
    #expect(accesses.first?.errorCode == 6)  // write, user mode, page not present
    #expect(accesses.first?.compareFailed == true)
    let counts = block.device.counts
    #expect(counts.reads == 1 && counts.writes == 1 && counts.failedCompares == 1)
  }

  @Test func theValueWrittenBackClearsTheFDONEThatTheDriverWaitsFor() throws {
    let block = try Block(writeBack: .valueRead)
    let driver = try E1000eDriver(block.device)
    let flash = block.device.flash
    let start = block.pages.start
    driver.onCycleStarted {
      _ = cts_lock_cmpxchg32(start + 4, Self.callBytes, Self.nopBytes)
    }
    #expect(throws: E1000eDriverError.timedOut) { try driver.readWords(from: 0, count: 1) }
    #expect(block.device.counts.failedCompares == 1)
    #expect(block.device.flash == flash)
    driver.onCycleStarted(nil)
    #expect(try driver.validate() == 0xBABA)
  }

  @Test func theValueWrittenBackToABusyDeviceIsACycleError() throws {
    let block = try Block(writeBack: .valueRead, busyReads: 2)
    let driver = try E1000eDriver(block.device)
    let start = block.pages.start
    driver.onCycleStarted {
      _ = cts_lock_cmpxchg32(start + 4, Self.callBytes, Self.nopBytes)
    }
    #expect(throws: E1000eDriverError.cycleError) { try driver.readWords(from: 0, count: 1) }
    #expect(block.device.nvm.isIntact)
  }

  @Test func onesWrittenBackEraseTheBlockAtFADDR() throws {
    let block = try Block(writeBack: .allOnes)
    let driver = try E1000eDriver(block.device)
    try driver.validate()  // leaves FADDR in bank 0
    strayCmpxchg(block, at: 4)
    #expect(block.device.counts.erases == 1)
    #expect(block.device.nvm == .init(validBank: nil, sum: 0xffc0))
    #expect(throws: E1000eDriverError.badChecksum) { try driver.validate() }
    // The same ones set FLOCKDN: no code can protect the part any more.
    #expect(throws: E1000eDriverError.notLocked) { try driver.writeProtect() }
  }

  @Test(
    "With PR0 and FLOCKDN a stray write-back meets FCERR and the flash is intact",
    arguments: E1000eDevice.WriteBack.allCases)
  func protectedFlash(writeBack: E1000eDevice.WriteBack) throws {
    let block = try Block(writeBack: writeBack)
    let driver = try E1000eDriver(block.device)
    try driver.validate()
    try driver.writeProtect()
    let flash = block.device.flash
    for offset in stride(from: 0, to: 0x78, by: 4) { strayCmpxchg(block, at: offset) }
    strayCmpxchg(block, at: 4)
    #expect(block.device.flash == flash)
    #expect(block.device.counts.erases == 0)
    let refused = block.device.peek(Int(E1000E_HSFSTS), width: 2) & UInt32(E1000E_FCERR)
    #expect((refused != 0) == (writeBack == .allOnes))
    #expect(try driver.validate() == 0xBABA)
  }

  @Test func onesOnPR0ProtectOrBreakNothingOnceLocked() throws {
    let block = try Block(writeBack: .allOnes)
    strayCmpxchg(block, at: 0x74)
    #expect(block.device.peek(0x74) == 0x9fff_9fff)
    let locked = try lockedBlockAfterStray(block)
    #expect(locked == 0x9fff_9fff)
  }

  private func lockedBlockAfterStray(_ block: borrowing Block) throws -> UInt32 {
    block.write16(E1000E_HSFSTS.signed, E1000E_FLOCKDN.value)
    block.write32(E1000E_PR0.signed, 0)
    return block.device.peek(0x74)
  }

  @Test func acmpxchgThatFindsItsBytesWritesThem() throws {
    let block = try Block(writeBack: .allOnes)
    block.write32(E1000E_FDATA0.signed, Int(Self.callBytes))
    strayCmpxchg(block, at: 0x10)
    #expect(block.read32(E1000E_FDATA0.signed) == Int(Self.nopBytes))
    #expect(block.device.counts.failedCompares == 0)
  }
}
