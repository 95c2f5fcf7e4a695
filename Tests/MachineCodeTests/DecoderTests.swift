// SPDX-License-Identifier: Apache-2.0

import CInstructionKinds
import MachineCode
import TestSupport
import Testing
import Units

/// Instructions as a patcher of call sites has to distinguish them.
@Suite struct DecoderTests {
  struct Expected: Equatable, Sendable {
    var kind: InstructionKind
    var length: Int
    var target: ModuleOffset

    init(kind: InstructionKind, length: Int, target: ModuleOffset) {
      self.kind = kind
      self.length = length
      self.target = target
    }

    init(_ instruction: Instruction<ModuleSpace>) {
      self.init(
        kind: instruction.kind, length: instruction.length, target: instruction.target)
    }
  }

  private func decode(_ bytes: [UInt8], at address: ModuleOffset) throws -> Instruction<
    ModuleSpace
  >? {
    try bytes.withUnsafeBytes { try Decoder().decode($0, at: address) }
  }

  @Test(
    "kind, length and target",
    arguments: [
      ([0xe8, 0xfb, 0xff, 0xff, 0xff], .init(kind: .call, length: 5, target: 0x1000)),
      (
        [0xe8, 0x00, 0x00, 0x00, 0x80], .init(kind: .call, length: 5, target: 0xffff_ffff_8000_1005)
      ),
      ([0x67, 0xe8, 0x00, 0x01, 0x00, 0x00], .init(kind: .call, length: 6, target: 0x1106)),
      ([0xff, 0x15, 0x10, 0x00, 0x00, 0x00], .init(kind: .callSlot, length: 6, target: 0x1016)),
      ([0xff, 0x15, 0xf0, 0xff, 0xff, 0xff], .init(kind: .callSlot, length: 6, target: 0xff6)),
      ([0xff, 0x15, 0x00, 0x00, 0x00, 0x00], .init(kind: .callSlot, length: 6, target: 0x1006)),
      ([0xff, 0x25, 0x09, 0x00, 0x00, 0x00], .init(kind: .jumpSlot, length: 6, target: 0x100f)),
      ([0xf2, 0xff, 0x25, 9, 0, 0, 0], .init(kind: .jumpSlot, length: 7, target: 0x1010)),
      ([0xeb, 0x03], .init(kind: .jump, length: 2, target: 0x1005)),
      ([0xe9, 0x00, 0x00, 0x00, 0x00], .init(kind: .jump, length: 5, target: 0x1005)),
      ([0x90], .init(kind: .nop, length: 1, target: 0)),
      ([0x0f, 0x1f, 0x44, 0x00, 0x00], .init(kind: .nop, length: 5, target: 0)),
      ([0x0f, 0x1f, 0x44, 0x00, 0x08], .init(kind: .nop, length: 5, target: 0)),
      ([0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00], .init(kind: .nop, length: 6, target: 0)),
      ([0xf3, 0x0f, 0x1e, 0xfa], .init(kind: .endbr64, length: 4, target: 0)),
      ([0xc3], .init(kind: .return, length: 1, target: 0)),
      ([0xff, 0xd0], .init(kind: .other, length: 2, target: 0)),  // call *%rax
      ([0xff, 0x10], .init(kind: .other, length: 2, target: 0)),  // call *(%rax)
      ([0xa9, 0x01, 0x02, 0x03, 0x04], .init(kind: .other, length: 5, target: 0)),
    ] as [([UInt8], Expected)])
  func instructions(bytes: [UInt8], expected: Expected) throws {
    #expect(try decode(bytes, at: 0x1000).map(Expected.init) == expected)
  }

  @Test("bytes that are no instruction, or only a part of one, decode to nothing")
  func noInstruction() throws {
    #expect(try decode([0x06], at: 0) == nil)
    #expect(try decode([0xe8, 0, 0, 0], at: 0) == nil)
    #expect(try decode([], at: 0) == nil)
  }

  /// Call displacements across every number of digits that Capstone prints.
  @Test("targets of calls are exact, whatever Capstone prints of them")
  func targets() throws {
    let decoder = try Decoder()
    var random = SeededGenerator(seed: 2008)
    for round in 0..<4000 {
      let address = ModuleOffset(
        UInt64.random(in: 0..<(1 << 47), using: &random) >> UInt64(round % 47))
      let displacement = Int32.random(in: .min ... .max, using: &random) >> Int32(round % 31)
      let tail = (0..<4).map { UInt8(truncatingIfNeeded: displacement >> (8 * $0)) }
      for (opcode, kind) in [([0xe8], InstructionKind.call), ([0xff, 0x15], .callSlot)] {
        let bytes = opcode.map(UInt8.init) + tail
        let found = bytes.withUnsafeBytes { decoder.decode($0, at: address) }
        let target = ModuleOffset(
          address.rawValue &+ UInt64(bytes.count) &+ UInt64(bitPattern: Int64(displacement)))
        #expect(
          found.map(Expected.init) == Expected(kind: kind, length: bytes.count, target: target))
      }
    }
  }

  @Test("text is as people read it")
  func text() throws {
    let decoder = try Decoder()
    #expect(decoder.text([0xe8, 0xfb, 0xff, 0xff, 0xff], at: CodeAddress(0x1000)) == "call 0x1000")
    #expect(decoder.text([0x90], at: CodeAddress(0)) == "nop")
    #expect(decoder.text([0x06], at: CodeAddress(0)) == "(bad)")
  }

  @Test("the kinds have the numbers that C knows them by")
  func numbersOfKinds() {
    let numbers = [
      (InstructionKind.other, NIK_OTHER), (.call, NIK_CALL), (.callSlot, NIK_CALL_SLOT),
      (.nop, NIK_NOP), (.return, NIK_RETURN), (.jump, NIK_JUMP), (.jumpSlot, NIK_JUMP_SLOT),
      (.endbr64, NIK_ENDBR64),
    ]
    for (kind, number) in numbers { #expect(Int(kind.rawValue) == Int(number), "\(kind)") }
    #expect(InstructionKind.allCases == numbers.map(\.0))
    #expect(InstructionKind(rawValue: UInt8(NIK_NOP_RUN)) == nil, "no instruction: an expectation")
  }
}
