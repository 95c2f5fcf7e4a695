// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing
import Units

/// The two kinds of addresses, and the one way from one to the other.
@Suite struct AddressTests {
  private let offset = ModuleOffset(0x1a30)
  private let bias = LoadBias(0x7f00_1234_0000)

  @Test("an offset and a load bias give an address, and the bias taken away gives the offset")
  func biased() {
    let address: CodeAddress = bias + offset
    #expect(address.rawValue == 0x7f00_1234_1a30)
    #expect(address - bias == offset)
  }

  @Test("a module loaded below its link-time addresses has a bias that wraps, and nothing traps")
  func loadedBelow() {
    let below = LoadBias(0 &- 0x1000)
    #expect(below + ModuleOffset(0x1800) == 0x800)
    #expect(CodeAddress(0x800) - below == 0x1800)
    #expect(LoadBias(.max) + ModuleOffset.max == CodeAddress(.max - 1))
  }

  @Test("two addresses of one space give a distance, and a distance moves an address")
  func distances() {
    let end = offset + 0x10
    #expect(end - offset == 0x10 as UInt64)
    #expect(end - 0x10 == offset)
    #expect((offset..<end).byteCount == 0x10)
    var moved = offset
    moved += 4
    #expect(moved == 0x1a34)
  }

  @Test("the wrapping operators wrap where the plain ones would trap")
  func wrapping() {
    #expect(CodeAddress.max &+ 1 == .zero)
    #expect(CodeAddress.zero &- 1 == .max)
    #expect(CodeAddress(0x10) &- CodeAddress(0x20) == UInt64(0) &- 0x10)
  }

  @Test("an exact sum is nil above the highest address")
  func exactly() {
    #expect(ModuleOffset(0xffff_ffff_ffff_fff0).adding(exactly: 0xf) == .max)
    #expect(ModuleOffset(0xffff_ffff_ffff_fff0).adding(exactly: 0x10) == nil)
  }

  @Test(
    "a displacement is signed, and wraps as the CPU's does",
    arguments: [
      (0x1000, 0x20, 0x1020), (0x1000, -0x20, 0xfe0), (0x10, -0x20, 0 &- 0x10),
      (UInt64.max, 1, 0), (0, .min, 0 &- 0x8000_0000),
    ] as [(UInt64, Int32, UInt64)])
  func displacements(start: UInt64, displacement: Int32, target: UInt64) {
    #expect(CodeAddress(start).displaced(by: displacement).rawValue == target)
  }

  @Test("addresses are rounded to whole pages, and the last page's end is 0")
  func rounding() {
    #expect(CodeAddress(0x1fff).rounded(downTo: 4096) == 0x1000)
    #expect(CodeAddress(0x1001).rounded(upTo: 4096) == 0x2000)
    #expect(CodeAddress(0x2000).rounded(upTo: 4096) == 0x2000)
    #expect(CodeAddress(.max - 1).rounded(upTo: 4096) == .zero)
  }

  @Test("they are ordered, hashed and printed as their number is")
  func asNumbers() {
    #expect([CodeAddress(3), 1, 2].sorted() == [1, 2, 3])
    #expect(Set([offset, offset + 0]).count == 1)
    #expect("\(offset) \(bias)" == "0x1a30 0x7f0012340000")
  }

  @Test("a pointer is an address of this process, and back")
  func pointers() throws {
    let number = UnsafeMutablePointer<Int>.allocate(capacity: 1)
    defer { number.deallocate() }
    let address = CodeAddress(number)
    #expect(address.rawValue == UInt64(UInt(bitPattern: number)))
    #expect(address.pointer == UnsafeMutableRawPointer(number))
    #expect(CodeAddress.zero.pointer == nil)
  }

  @Test("in a document they are plain numbers, above 2^53 too")
  func coding() throws {
    let high = CodeAddress(0xffff_ffff_ff60_0001)
    let text = String(decoding: try JSONEncoder().encode([high]), as: UTF8.self)
    #expect(text == "[18446744073699065857]")
    #expect(try JSONDecoder().decode([CodeAddress].self, from: Data(text.utf8)) == [high])
    let biases = String(decoding: try JSONEncoder().encode([LoadBias(4096)]), as: UTF8.self)
    #expect(biases == "[4096]")
    #expect(try JSONDecoder().decode([LoadBias].self, from: Data(biases.utf8)) == [4096])
  }

  @Test("they take the eight bytes of their number")
  func size() {
    #expect(MemoryLayout<CodeAddress>.size == 8 && MemoryLayout<ModuleOffset?>.size == 9)
  }
}

/// What traps: a sum or a difference that does not fit is the program's own mistake.
@Suite struct AddressTrapTests {
  @Test("plain arithmetic traps where it does not fit")
  func traps() async {
    await #expect(processExitsWith: .failure) { _ = CodeAddress.max + 1 }
    await #expect(processExitsWith: .failure) { _ = ModuleOffset.zero - 1 }
    await #expect(processExitsWith: .failure) { _ = CodeAddress(1) - CodeAddress(2) }
  }
}
