// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@testable import UnloadLab

@Suite(.ownProcess) struct SpecimenTests {
  @Test(
    "A specimen needs libc alone, has a build-id, and calls mcount by e8 everywhere",
    arguments: SpecimenLocation.Specimen.allCases)
  func shape(specimen: SpecimenLocation.Specimen) throws {
    let module = try BuiltModule(specimen)
    #expect(try module.needed() == ["libc.so.6"])
    #expect(try module.buildID()?.count == 40)
    let sites = try module.callSites()
    #expect(sites.count >= (specimen == .specimen ? 20 : 5))
    #expect(try module.callCount() == sites.count)
  }

  @Test(
    "The site of a flash-page function falls on its register",
    arguments: [
      ("specimen_at_hsfsts", 0x04), ("specimen_filler_14", 0x14), ("specimen_filler_24", 0x24),
      ("specimen_filler_34", 0x34), ("specimen_filler_44", 0x44), ("specimen_at_freg0", 0x54),
      ("specimen_filler_64", 0x64), ("specimen_at_pr0", 0x74),
    ])
  func registerOfSite(function: String, offset: Int) throws {
    let module = try BuiltModule(.specimen)
    let exports = try module.exports()
    let start = try #require(exports[function])
    #expect(try module.callSites().contains(start + 4))
    #expect((start + 4) % 4096 == offset)
    #expect(start / 4096 == exports["specimen_at_hsfsts"].map { $0 / 4096 })
  }

  @Test func theFlashPageHoldsNoOtherSite() throws {
    let module = try BuiltModule(.specimen)
    let page = try #require(try module.exports()["specimen_at_hsfsts"])
    let onPage = try module.callSites().filter { $0 / 4096 == page / 4096 }.map { $0 - page }
    #expect(onPage == Array(stride(from: 0x04, through: 0x74, by: 0x10)))
  }

  @Test func theOtherModuleHasTheSameSpanAndOtherBytesAtEachSite() throws {
    let (first, second) = (try BuiltModule(.specimen), try BuiltModule(.other))
    #expect(try first.span() == second.span())
    #expect(try first.buildID() != second.buildID())
    let specimen = try LoadedModule(first.path)
    let other = try LoadedModule(second.path)
    for site in try first.callSites() {
      let (call, found) = (specimen.bytes(at: site, count: 5), other.bytes(at: site, count: 5))
      #expect(call[0] == 0xe8)
      #expect(Array(call[..<4]) != Array(found[..<4]), "site 0x\(String(site, radix: 16))")
    }
  }

  @Test func theOtherModuleComesToStandWhereTheFirstStood() throws {
    let first = try SpecimenLocation.path(of: .specimen)
    let second = try SpecimenLocation.path(of: .other)
    // Other threads of the test process may map something in between: one of ten is enough.
    let landed = try (0..<10).contains { _ in
      let specimen = try LoadedModule(first)
      let base = specimen.base
      _ = consume specimen
      return try LoadedModule(second).base == base
    }
    #expect(landed)
  }

  @Test func theConstructorsCallsAndTheDestructorsAreCounted() throws {
    let destroyed = UnsafeMutablePointer<Int>.allocate(capacity: 1)
    destroyed.pointee = 0
    defer { destroyed.deallocate() }
    let module = try LoadedModule(SpecimenLocation.path(of: .specimen))
    let constructed: UnsafePointer<Int> = try module.function("specimen_constructed")
    #expect(constructed.pointee == 3)
    let destroyedAt: UnsafeMutablePointer<UnsafeMutablePointer<Int>?> =
      try module.function("specimen_destroyed_at")
    destroyedAt.pointee = destroyed
    _ = consume module
    #expect(destroyed.pointee == 1)
  }

  @Test func aSpecimenThatIsNotBuiltIsAClearLine() {
    let error = #expect(throws: SpecimenNotFound.self) {
      try SpecimenLocation.path(ofFile: "libNone.so", in: ["/a", "/b"])
    }
    #expect(error?.description == "libNone.so: not in /a, /b: build it first (swift build)")
  }

  @Test func specimensAreLookedForBesideTheProgramAndInBothBuilds() {
    let folders = SpecimenLocation.candidateFolders()
    #expect(folders.count == Set(folders).count)
    #expect(folders.contains { $0.hasSuffix("/debug") })
    #expect(folders.contains { $0.hasSuffix("/release") })
    #expect(folders.allSatisfy { $0.hasPrefix("/") })
  }
}

/// What the specimen's functions compute, through whatever mcount does at their entry.
@Suite(.ownProcess) struct SpecimenWorkTests {
  @Test func integers() throws {
    let module = try LoadedModule(SpecimenLocation.path(of: .specimen))
    typealias Binary = @convention(c) (Int32, Int32) -> Int32
    let add: Binary = try module.function("specimen_add")
    #expect(add(40, 2) == 42)
    let apply: @convention(c) (Binary, Int32, Int32) -> Int32 =
      try module.function("specimen_apply")
    #expect(apply(add, 1, 2) == 3)
    let gcd: @convention(c) (UInt32, UInt32) -> UInt32 = try module.function("specimen_gcd")
    #expect(gcd(1071, 462) == 21)
    let fib: @convention(c) (UInt32) -> UInt64 = try module.function("specimen_fib")
    #expect(fib(15) == 610)
    let popcount: @convention(c) (UInt64) -> UInt32 = try module.function("specimen_popcount")
    #expect(popcount(0xff00_0000_0000_0001) == 9)
    let collatz: @convention(c) (UInt64) -> UInt32 = try module.function("specimen_collatz")
    #expect(collatz(27) == 111)
  }

  @Test func memory() throws {
    let module = try LoadedModule(SpecimenLocation.path(of: .specimen))
    let crc: @convention(c) (UnsafeRawPointer, Int) -> UInt32 =
      try module.function("specimen_crc32")
    #expect(Array("123456789".utf8).withUnsafeBytes { crc($0.baseAddress!, 9) } == 0xcbf4_3926)
    let length: @convention(c) (UnsafePointer<CChar>) -> Int =
      try module.function("specimen_length")
    #expect(length("nopscope") == 8)
    let reverse: @convention(c) (UnsafeMutablePointer<CChar>) -> Void =
      try module.function("specimen_reverse")
    var text = Array("abcde".utf8CString)
    reverse(&text)
    #expect(text == Array("edcba".utf8CString))
    let sort: @convention(c) (UnsafeMutablePointer<Int32>, Int) -> Void =
      try module.function("specimen_sort")
    var values: [Int32] = [3, -1, 2, 0]
    sort(&values, 4)
    #expect(values == [-1, 0, 2, 3])
  }

  @Test func argumentsAndResultsThatAreNotInGeneralRegisters() throws {
    let module = try LoadedModule(SpecimenLocation.path(of: .specimen))
    let doubles:
      @convention(c) (Double, Double, Double, Double, Double, Double, Double, Double) -> Double =
        try module.function("specimen_sum_doubles")
    #expect(doubles(1, 2, 3, 4, 5, 6, 7, 8.5) == 36.5)
    let eight: @convention(c) (Int32, Int32, Int32, Int32, Int32, Int32, Int32, Int32) -> Int32 =
      try module.function("specimen_sum_eight")
    #expect(eight(1, 1, 1, 1, 1, 1, 1, 10) == 108)
    // A variadic callee of int arguments reads them from the same registers as a fixed one.
    let largest: @convention(c) (Int32, Int32, Int32, Int32) -> Int32 =
      try module.function("specimen_max")
    #expect(largest(3, -5, 7, 2) == 7)
    struct Division { var quotient = 0, remainder = 0, divisor = 0 }
    var division = Division()
    // A result of more than 16 bytes is written through a hidden first argument.
    let divide: @convention(c) (UnsafeMutableRawPointer, Int, Int) -> Void =
      try module.function("specimen_divide")
    divide(&division, 17, 5)
    #expect(division.quotient == 3 && division.remainder == 2 && division.divisor == 5)
  }
}
