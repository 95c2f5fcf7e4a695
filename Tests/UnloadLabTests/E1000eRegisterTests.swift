// SPDX-License-Identifier: Apache-2.0

import CTestSupport
import CUnloadLab
import TestSupport
import Testing
import UnloadLab

/// A device on a page of its own, and raw accesses to its registers.
struct Block: ~Copyable {
  let pages = Pages()
  let device: E1000eDevice

  init(
    writeBack: E1000eDevice.WriteBack = .valueRead, busyReads: UInt32 = 0,
    hasDescriptor: Bool = true
  ) throws {
    device = try E1000eDevice(
      at: pages.start, writeBack: writeBack, busyReads: busyReads, hasDescriptor: hasDescriptor)
  }

  deinit { device.close() }

  func read16(_ offset: Int32) -> Int { Int(cts_load16(pages.start + Int(offset))) }
  func read32(_ offset: Int32) -> Int { Int(cts_load32(pages.start + Int(offset))) }
  func write16(_ offset: Int32, _ value: Int) {
    cts_store16(pages.start + Int(offset), UInt16(value))
  }
  func write32(_ offset: Int32, _ value: Int) {
    cts_store32(pages.start + Int(offset), UInt32(value))
  }

  /// FADDR, FDATA0 and one HSFCTL write with FGO.
  func cycle(_ kind: Int32, at address: Int, bytes: Int = 1, data: Int = 0) {
    write32(E1000E_FADDR.signed, address)
    write32(E1000E_FDATA0.signed, data)
    write16(
      E1000E_HSFCTL.signed,
      (bytes - 1) << E1000E_FDBC_SHIFT.value | Int(kind) | E1000E_FGO.value)
  }
}

extension BinaryInteger {
  var value: Int { Int(self) }
  var signed: Int32 { Int32(self) }
}

/// How a register of the facts' table answers a 32-bit write of a value.
struct RegisterRule: CustomTestStringConvertible, Sendable {
  var testDescription: String
  var offset: Int32
  var written: Int
  var readBack: Int
}

@Suite(.ownProcess) struct E1000eRegisterTests {
  @Test(
    "A register keeps the bits that may be written, and no other",
    arguments: [
      RegisterRule(
        testDescription: "GFPREG is read-only", offset: 0x00, written: 0xffff_ffff,
        readBack: 0x0002_0001),
      RegisterRule(
        testDescription: "FADDR has 24 bits", offset: 0x08, written: 0xffff_ffff,
        readBack: 0x00ff_ffff),
      RegisterRule(
        testDescription: "a reserved offset is lost", offset: 0x0c, written: 0xffff_ffff,
        readBack: 0),
      RegisterRule(
        testDescription: "FDATA0 has 32", offset: 0x10, written: 0xdead_beef,
        readBack: 0xdead_beef),
      RegisterRule(
        testDescription: "FRAP is read-only", offset: 0x50, written: 0xffff_ffff, readBack: 0x0808),
      RegisterRule(
        testDescription: "FREG0, the descriptor", offset: 0x54, written: 0xffff_ffff, readBack: 0),
      RegisterRule(
        testDescription: "FREG3, the NVM", offset: 0x60, written: 0, readBack: 0x0002_0001),
      RegisterRule(
        testDescription: "PR0: base, RPE, limit, WPE", offset: 0x74, written: 0xffff_ffff,
        readBack: 0x9fff_9fff),
      RegisterRule(
        testDescription: "beyond the registers", offset: 0x104, written: 0xffff_ffff, readBack: 0),
    ])
  func writableBits(rule: RegisterRule) throws {
    let block = try Block()
    block.write32(rule.offset, rule.written)
    #expect(block.read32(rule.offset) == rule.readBack)
  }

  @Test func narrowWritesReachTheirBytesAlone() throws {
    let block = try Block()
    block.write32(E1000E_FDATA0.signed, 0x1122_3344)
    cts_store8(block.pages.start + 0x11, 0xaa)
    block.write16(0x12, 0xbbcc)
    #expect(block.read32(E1000E_FDATA0.signed) == 0xbbcc_aa44)
  }

  @Test func afterResetTheBlockIsSizeErase4KAndHasADescriptor() throws {
    let block = try Block()
    #expect(block.read16(E1000E_HSFSTS.signed) == E1000E_FDV.value | E1000E_BERASE_4K.value)
    #expect(block.read16(E1000E_HSFCTL.signed) == 0)
    let bare = block.device.peek(Int(E1000E_HSFSTS), width: 2)
    #expect(Int(bare) == E1000E_FDV.value | E1000E_BERASE_4K.value)
  }

  @Test("The status bits FDONE, FCERR and AEL are cleared by ones, not by zeros")
  func writeOneToClear() throws {
    let block = try Block()
    block.cycle(E1000E_FCYCLE_READ.signed, at: 0x1000)
    block.cycle(E1000E_FCYCLE_READ.signed, at: 0)  // the descriptor region: refused
    let both = E1000E_FDONE.value | E1000E_FCERR.value
    #expect(block.read16(E1000E_HSFSTS.signed) & 7 == both)
    block.write16(E1000E_HSFSTS.signed, 0)
    #expect(block.read16(E1000E_HSFSTS.signed) & 7 == both)
    block.write16(E1000E_HSFSTS.signed, E1000E_FCERR.value | E1000E_AEL.value)
    #expect(block.read16(E1000E_HSFSTS.signed) & 7 == E1000E_FDONE.value)
    block.write16(E1000E_HSFSTS.signed, E1000E_FDONE.value)
    #expect(block.read16(E1000E_HSFSTS.signed) & 7 == 0)
  }

  @Test func theReadOnlyStatusBitsStay() throws {
    let block = try Block()
    block.write16(E1000E_HSFSTS.signed, 0x7fff)
    #expect(block.read16(E1000E_HSFSTS.signed) == E1000E_FDV.value | E1000E_BERASE_4K.value)
    block.write16(E1000E_HSFSTS.signed, 0)
    #expect(block.read16(E1000E_HSFSTS.signed) == E1000E_FDV.value | E1000E_BERASE_4K.value)
  }

  @Test func flockdnIsSetByAOneAndFreezesPR0() throws {
    let block = try Block()
    block.write32(E1000E_PR0.signed, 0x8002_0001)
    block.write16(E1000E_HSFSTS.signed, E1000E_FLOCKDN.value)
    block.write16(E1000E_HSFSTS.signed, 0)
    #expect(block.read16(E1000E_HSFSTS.signed) & E1000E_FLOCKDN.value != 0)
    block.write32(E1000E_PR0.signed, 0)
    #expect(block.read32(E1000E_PR0.signed) == 0x8002_0001)
    #expect(block.device.dump().contains("PR0 74  80020001  WPE"))
    #expect(block.device.dump().contains("HSFSTS 04  c008  FDV FLOCKDN"))
  }

  @Test func fgoReadsZeroAndItsNeighboursStay() throws {
    let block = try Block()
    block.cycle(E1000E_FCYCLE_READ.signed, at: 0x1000, bytes: 4)
    #expect(block.read16(E1000E_HSFCTL.signed) == 0x0300)
    #expect(block.read32(E1000E_FDATA0.signed) == 0x005e_0002)  // the MAC address's first bytes
  }

  @Test("A read cycle fills FDBC + 1 bytes of FDATA0", arguments: 1...4)
  func readCycle(bytes: Int) throws {
    let block = try Block()
    block.cycle(E1000E_FCYCLE_READ.signed, at: 0x1000, bytes: bytes, data: 0xffff_ffff)
    let expected = 0x005e_0002 & ((1 << (8 * bytes)) - 1)
    #expect(block.read32(E1000E_FDATA0.signed) == expected)
    #expect(block.read16(E1000E_HSFSTS.signed) & 7 == E1000E_FDONE.value)
  }

  @Test func aWriteCycleCanOnlyClearBits() throws {
    let block = try Block()
    block.cycle(E1000E_FCYCLE_WRITE.signed, at: 0x2000, bytes: 4, data: 0xf0f0_1234)
    block.cycle(E1000E_FCYCLE_WRITE.signed, at: 0x2000, bytes: 2, data: 0x5555_ff0f)
    #expect(Array(block.device.flash[0x2000..<0x2004]) == [0x04, 0x12, 0xf0, 0xf0])
  }

  @Test func anEraseFillsTheBlockAroundFADDRWithFF() throws {
    let block = try Block()
    block.cycle(E1000E_FCYCLE_WRITE.signed, at: 0x2ffc, bytes: 4)
    block.cycle(E1000E_FCYCLE_ERASE.signed, at: 0x1abc)
    let flash = block.device.flash
    #expect(flash[0x1000..<0x2000].allSatisfy { $0 == 0xff })
    #expect(Array(flash[0x2ffc..<0x3000]) == [0, 0, 0, 0])
    #expect(block.device.counts.erases == 1)
  }

  @Test func aFourByteWriteAt04CoversStatusAndControl() throws {
    let block = try Block()
    block.write32(E1000E_FADDR.signed, 0x1000)
    block.write32(
      E1000E_HSFSTS.signed,
      E1000E_FLOCKDN.value | (E1000E_FCYCLE_ERASE.value | E1000E_FGO.value) << 16)
    let both = block.read32(E1000E_HSFSTS.signed)
    #expect(both & 0xffff == 0xc009)  // FLOCKDN, FDV, BERASE, FDONE
    #expect(both >> 16 == E1000E_FCYCLE_ERASE.value)
    #expect(block.device.counts.erases == 1)
  }

  @Test(
    "A cycle that is not allowed sets FCERR and does not run",
    arguments: [
      (E1000E_FCYCLE_ERASE.signed, 0x0000, "the descriptor's region"),
      (E1000E_FCYCLE_WRITE.signed, 0x3000, "the BIOS region"),
      (E1000E_FCYCLE_READ.signed, 0x3000, "the BIOS region"),
      (E1000E_FCYCLE_WRITE.signed, 0x2fff, "over the NVM's end"),
      (E1000E_FCYCLE_READ.signed, 0xff_fffe, "beyond the flash"),
      (1 << 1, 0x1000, "FCYCLE 1 is reserved"),
    ])
  func refusedCycle(kind: Int32, address: Int, reason: String) throws {
    let block = try Block()
    let before = block.device.flash
    block.cycle(kind, at: address, bytes: 4)
    #expect(block.read16(E1000E_HSFSTS.signed) & 7 == E1000E_FCERR.value, "\(reason)")
    #expect(block.device.flash == before)
    #expect(block.device.counts.cycles == 0)
    #expect(block.device.counts.refused == 1)
  }

  @Test(
    "PR0 keeps off what it names",
    arguments: [
      (E1000E_FCYCLE_READ.signed, 0x8002_0001, false),
      (E1000E_FCYCLE_WRITE.signed, 0x8002_0001, true),
      (E1000E_FCYCLE_ERASE.signed, 0x8002_0001, true),
      (E1000E_FCYCLE_READ.signed, 0x0002_8001, true),
      (E1000E_FCYCLE_WRITE.signed, 0x0002_8001, false),
      (E1000E_FCYCLE_WRITE.signed, 0x8001_0001, false),  // bank 0 alone
      (E1000E_FCYCLE_WRITE.signed, 0x8003_0002, true),
      (E1000E_FCYCLE_WRITE.signed, 0x8001_0002, false),  // base above limit: nothing
    ])
  func protectedRange(kind: Int32, protection: Int, isRefused: Bool) throws {
    let block = try Block()
    block.write32(E1000E_PR0.signed, protection)
    block.cycle(kind, at: 0x2000)
    let status = block.read16(E1000E_HSFSTS.signed) & 7
    #expect(status == (isRefused ? E1000E_FCERR.value : E1000E_FDONE.value))
  }

  @Test func aBusyCycleSetsSCIPUntilTheStatusWasReadThatOften() throws {
    let block = try Block(busyReads: 3)
    block.cycle(E1000E_FCYCLE_ERASE.signed, at: 0x1000)
    _ = block.read32(E1000E_FADDR.signed)  // not a look at the status
    for _ in 0..<3 {
      #expect(block.device.nvm.isIntact)
      #expect(block.read16(E1000E_HSFSTS.signed) & (1 | E1000E_SCIP.value) == E1000E_SCIP.value)
    }
    #expect(block.read16(E1000E_HSFSTS.signed) & (1 | E1000E_SCIP.value) == E1000E_FDONE.value)
    #expect(!block.device.nvm.isIntact)
  }

  @Test(
    "A register write to a busy device sets FCERR and is dropped",
    arguments: [
      E1000E_FADDR.signed, E1000E_FDATA0.signed, E1000E_HSFSTS.signed, E1000E_PR0.signed,
    ])
  func writeWhileBusy(offset: Int32) throws {
    let block = try Block(busyReads: 1)
    block.cycle(E1000E_FCYCLE_READ.signed, at: 0x1000, bytes: 4, data: 0x55)
    let before = block.device.peek(Int(offset))
    block.write32(offset, 0x0007_2000)
    let fcerr = offset == E1000E_HSFSTS.signed ? UInt32(E1000E_FCERR) : 0
    #expect(block.device.peek(Int(offset)) == before | fcerr)
    let busy = E1000E_SCIP.value | E1000E_FCERR.value
    #expect(block.read16(E1000E_HSFSTS.signed) & (busy | 1) == busy)
    #expect(block.read32(E1000E_FDATA0.signed) == 0x005e_0002)  // and the cycle ran to its end
  }
}
