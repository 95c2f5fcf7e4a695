// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CUnloadLab
import Foundation
import Testing
import Units

@testable import UnloadLab

extension DaemonTests {
  @Suite struct Patching {
    static let callBytes: [UInt8] = [0xe8, 0x11, 0x22, 0x33, 0x44]

    /// One page that holds `bytes`, handed to the primitive: call -> nop.
    func patch(_ bytes: [UInt8], protection: Int32 = PROT_READ | PROT_WRITE) throws -> (
      result: Int32, after: [UInt8], found: UInt32
    ) {
      let field = CallField(siteCount: 1)
      write(bytes, at: field.site(0))
      field.protect(protection)
      var found: UInt32 = 0
      var result: Int32 = -1
      try withEngine { _ in
        let site = UnsafeMutablePointer<UInt8>(bitPattern: UInt(field.site(0)))
        result = nul_patch_code(site, Self.callBytes, nop, &found)
      }
      field.protect(PROT_READ)
      return (result, UnloadLabTests.bytes(at: field.site(0)), found)
    }

    @Test("the expected bytes are replaced, all five, and the result is 0")
    func same() throws {
      let outcome = try patch(Self.callBytes)
      #expect(outcome.result == 0 && outcome.after == nop)
    }

    @Test("new bytes that are there already give 0")
    func already() throws {
      let outcome = try patch(nop)
      #expect(outcome.result == 0 && outcome.after == nop)
    }

    @Test("the fifth byte is replaced unseen: four bytes are all that is compared")
    func fifth() throws {
      let outcome = try patch([0xe8, 0x11, 0x22, 0x33, 0x99])
      #expect(outcome.result == 0 && outcome.after == nop)
    }

    @Test(
      "any other of the four bytes gives 2, and the value stays",
      arguments: [0, 1, 2, 3])
    func other(index: Int) throws {
      var bytes = Self.callBytes
      bytes[index] ^= 0x40
      let outcome = try patch(bytes)
      #expect(outcome.result == 2 && outcome.after == bytes)
      #expect(withUnsafeBytes(of: outcome.found) { Array($0) } == Array(bytes.prefix(4)))
    }

    @Test("memory that may not be written gives 1, and the value stays")
    func readOnly() throws {
      let outcome = try patch(Self.callBytes, protection: PROT_READ)
      #expect(outcome.result == 1 && outcome.after == Self.callBytes)
    }

    @Test(
      "where nothing is mapped the result is 1", arguments: [0x1000, 0x7fff_ffff_0000] as [UInt])
    func unmapped(address: UInt) throws {
      try withEngine { _ in
        var found: UInt32 = 7
        let site = UnsafeMutablePointer<UInt8>(bitPattern: address)
        #expect(nul_patch_code(site, Self.callBytes, nop, &found) == 1)
        #expect(found == 7)
      }
    }

    /// What stands at a recorded site when the daemon comes.
    enum Occupant: String, CaseIterable, Sendable {
      case call, otherBytes, readOnly, nothing
    }

    @Test(
      "a conversion by the daemon has the outcome of its occupant, in both unverified and verified",
      arguments: DaemonEngine.Version.allCases, Occupant.allCases)
    func conversion(version: DaemonEngine.Version, occupant: Occupant) throws {
      let field = CallField(siteCount: 1)
      let ip = field.site(0)
      let original = UnloadLabTests.bytes(at: ip)
      try withEngine(version) { engine in
        try engine.register(field.text)
        nul_record_ip(ip)
        switch occupant {
        case .call: break
        case .otherBytes: write([1, 2, 3, 4, 5], at: ip)
        case .readOnly: field.protect(PROT_READ)
        case .nothing: field.protect(PROT_NONE)
        }
        try engine.waitForCycle(now: true)
        field.protect(PROT_READ)
        let after = UnloadLabTests.bytes(at: ip)
        let patch = try #require(engine.lastPatch(at: ip))
        #expect(patch.expected == original && patch.replacement == nop)
        #expect(patch.purpose == .convert)
        let readsFirst = version == .verified
        switch occupant {
        case .call:
          #expect(patch.result == .done && after == nop)
          #expect(engine.record(at: ip)?.flags == .converted)
          #expect(engine.statistics.conversions == 1)
        case .otherBytes:
          #expect(patch.result == .mismatch && after == [1, 2, 3, 4, 5])
          #expect(patch.wasExecuted == !readsFirst)
          #expect(patch.found == (readsFirst ? [1, 2, 3, 4, 5] : [1, 2, 3, 4]))
        case .readOnly, .nothing:
          #expect(patch.result == .faulted && after == original && patch.found.count < 6)
          #expect(patch.wasExecuted == (!readsFirst || occupant == .readOnly))
        }
        if occupant != .call {
          #expect(engine.record(at: ip) == nil)
          #expect(engine.statistics.freeRecords == 1 && engine.statistics.records == 0)
        }
      }
    }

    @Test("verified: bytes that are equal and a call elsewhere in a decoder's eyes do not exist")
    func verifiedEqualBytes() throws {
      // What verification cannot see: foreign memory that holds the very same five bytes.
      let field = CallField(siteCount: 1)
      try withEngine(.verified) { engine in
        try engine.register(field.text)
        nul_record_ip(field.site(0))
        write(call(from: field.site(0), to: field.start), at: field.site(0))
        try engine.waitForCycle(now: true)
        #expect(UnloadLabTests.bytes(at: field.site(0)) == nop)
      }
    }

    @Test("more conversions than the limit, and ftrace is off until it is detached")
    func selfDisable() throws {
      let field = CallField(siteCount: 8)
      try withEngine(conversionLimit: 4) { engine in
        try engine.register(field.text)
        for index in 0..<4 { nul_record_ip(field.site(index)) }
        try engine.waitForCycle(now: true)
        #expect(!engine.statistics.isDisabled)
        nul_record_ip(field.site(4))
        try engine.waitForCycle(now: true)
        #expect(engine.statistics.isDisabled && engine.statistics.conversions == 5)
        nul_record_ip(field.site(5))
        #expect(engine.record(at: field.site(5)) == nil)
        #expect(throws: DaemonEngineError.disabledItself(conversions: 5, limit: 4)) {
          try engine.startTracer()
        }
      }
    }

    @Test("a frozen record is left alone, and converted once it is thawed")
    func frozen() throws {
      let field = CallField(siteCount: 8192)
      let sites = try field.collidingSites(3)
      try withEngine { engine in
        try engine.register(field.text)
        for site in sites.prefix(2) { nul_record_ip(site) }
        #expect(nul_record_mark(sites[0], UInt64(NUL_FROZEN), true))
        try engine.waitForCycle(now: true)
        nul_record_ip(sites[2])
        try engine.waitForCycle(now: true)
        #expect(UnloadLabTests.bytes(at: sites[0])[0] == 0xe8)
        #expect(UnloadLabTests.bytes(at: sites[1]) == nop)
        #expect(nul_record_mark(sites[0], UInt64(NUL_FROZEN), false))
        try engine.startTracer()
        try engine.stopTracer()
        #expect(sites.allSatisfy { UnloadLabTests.bytes(at: $0) == nop })
      }
    }
  }
}
