// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CRecordingABI
import Testing

@testable import Recorder

/// The words stand in the order of the patch core's numbers, which the recorder does not import.
@Suite struct ApplyStatusTests {
  private func text(
    _ status: Int, phase: Int = NPC_PHASE_PREPARE, isOff: Bool = false,
    _ change: (inout nrec_applied) -> Void = { _ in }
  ) -> String {
    var applied = nrec_applied()
    applied.status = Int32(status)
    applied.phase = Int32(phase)
    applied.is_off = isOff ? 1 : 0
    change(&applied)
    return ApplyStatus.text(applied)
  }

  @Test("each number has its own words")
  func words() {
    #expect(text(NPC_OK) == "ok")
    #expect(text(NPC_MODULE_GONE) == "the module was gone, or another build")
    #expect(text(NPC_MISMATCH) == "the bytes are not the file's")
    #expect(text(NPC_UNWRITABLE) == "its text cannot be written")
    #expect(text(NPC_NO_SYNC) == "the processor cannot be synchronised")
    #expect(text(NPC_TRAP_TAKEN) == "SIGTRAP has another handler")
    #expect(text(NPC_RUNS_ALREADY).hasPrefix("its code may run already"))
    #expect(text(NPC_RUNS_ALREADY + 1) == "refused with status \(NPC_RUNS_ALREADY + 1)")
  }

  @Test("an anomaly is reported in full")
  func anomaly() {
    let end = ": the tracer is off in this process, and patches nothing more"
    let mismatch = text(NPC_MISMATCH, phase: NPC_PHASE_VERIFY, isOff: true) {
      $0.offset = 0x1a30
      $0.length = 5
      $0.expected = (0xe8, 1, 0, 0, 0, 0xff)
      $0.actual = (0xcc, 1, 0, 0, 0, 0xff)
      $0.has_actual = 1
    }
    #expect(
      mismatch == "the bytes are not the file's, at 0x1a30, when it was verified: expected "
        + "e8 01 00 00 00, found cc 01 00 00 00" + end)
    #expect(
      text(NPC_READ_BACK, phase: NPC_PHASE_READ_BACK, isOff: true) { $0.left_changed = 1 }
        == "the bytes written are not the bytes read, when it was read back; it could not be put "
        + "back" + end)
    #expect(
      text(NPC_UNWRITABLE, phase: NPC_PHASE_CLOSE, isOff: true)
        == "its text cannot be written, when its text was closed" + end)
  }
}
