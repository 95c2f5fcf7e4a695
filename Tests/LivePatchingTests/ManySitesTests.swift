// SPDX-License-Identifier: Apache-2.0

import CallSites
import Foundation
import LivePatching
import MachineCode
import PatchBench
import TestSupport
import Testing
import Units

/// Transactions of more sites than go through a protocol's steps together.
@Suite(.ownProcess) struct ManySitesTests {
  private static let path = Result {
    let generated = try GeneratedLibrary(sites: 10_000) { _ in }
    let path = try TemporaryFolder.shared.fresh("many-sites") + "/libmany.so"
    try ProgramFile.copy(generated.path, to: path)
    return path
  }

  private struct Loaded {
    let library: Library
    let patched: PatchedModule

    init() throws {
      let path = try ManySitesTests.path.get()
      let decoder = try Decoder()
      let table = try SiteTable.discover(path: path, decoder: decoder)
      library = try Library(path: path)
      let module = try #require(LoadedModule.all().first { $0.name == path })
      patched = try PatchedModule(module: module, table: table, decoder: decoder)
    }

    func bytes(_ site: Int) -> [UInt8] {
      let start = patched.address(of: site).pointer?.assumingMemoryBound(to: UInt8.self)
      return Array(UnsafeBufferPointer(start: start, count: patched.table.sites[site].length))
    }

    /// As other code would, without the patcher's knowledge.
    func damage(_ site: Int) {
      protect(site, PROT_READ | PROT_WRITE | PROT_EXEC)
      let start = patched.address(of: site).pointer?.assumingMemoryBound(to: UInt8.self)
      start?[4] ^= 0x40
      protect(site, PROT_READ | PROT_EXEC)
    }

    func count(where isRight: (Int, [UInt8]) -> Bool) -> Int {
      patched.table.sites.indices.count { isRight($0, bytes($0)) }
    }

    var originals: Int {
      count { $1 == patched.table.originalBytes(of: patched.table.sites[$0]) }
    }
    var nops: Int {
      count { $1 == Code.nop(length: patched.table.sites[$0].length).bytes }
    }

    func protect(_ site: Int, _ protection: Int32) {
      let page = patched.address(of: site).rounded(downTo: 4096).pointer
      #expect(mprotect(page, 4096, protection) == 0)
    }
  }

  @Test(
    "every site of many becomes a nop and a call again",
    arguments: [PatchProtocol.stopMachine, .jumpGuard, .none], [TextWriter.mprotect])
  func roundTrip(method: PatchProtocol, writer: TextWriter) throws {
    let loaded = try Loaded()
    let options = PatchOptions(method: method, writer: writer)
    #expect(try loaded.patched.set(to: .nop, options: options).sites == 10_000)
    #expect(loaded.nops == 10_000)
    #expect(loaded.patched.changes.count == 10_000)
    #expect(try loaded.patched.set(to: .nop, options: options).sites == 0)
    #expect(try loaded.patched.set(to: .original, options: options).sites == 10_000)
    #expect(loaded.originals == 10_000)
    #expect(loaded.patched.changes.isEmpty)
  }

  @Test("one wrong byte in the very last site, and not one of the others is written")
  func wrongByte() throws {
    let loaded = try Loaded()
    let last = 9_999
    let original = loaded.bytes(last)
    loaded.damage(last)
    let found = loaded.bytes(last)
    let error = #expect(throws: PatchError.self) { try loaded.patched.set(to: .nop) }
    #expect(error?.reason == .mismatch)
    #expect(error?.phase == .verify)
    #expect(error?.offset == loaded.patched.table.sites[last].offset)
    #expect(error?.expected == original)
    #expect(error?.actual == found)
    #expect(loaded.originals == 9_999)
    #expect(loaded.patched.changes.isEmpty)
  }

  @Test("a site that cannot be read is reported, and nothing is written")
  func unreadable() throws {
    let loaded = try Loaded()
    loaded.protect(9_999, PROT_NONE)
    let error = #expect(throws: PatchError.self) { try loaded.patched.set(to: .nop) }
    loaded.protect(9_999, PROT_READ | PROT_EXEC)
    #expect(error?.reason == .unreadable)
    #expect(error?.isRolledBack == false)
    #expect(loaded.originals == 10_000)
  }

  @Test("some of the sites, by their indices")
  func someSites() throws {
    let loaded = try Loaded()
    let odd = Array(stride(from: 1, to: 10_000, by: 2))
    #expect(try loaded.patched.set(odd, to: .nop).sites == 5_000)
    #expect(loaded.count { ($0 % 2 == 1) == ($1 == [0x0f, 0x1f, 0x44, 0, 0]) } == 10_000)
    #expect(try loaded.patched.set(to: .nop).sites == 5_000)
    #expect(loaded.nops == 10_000)
    #expect(try loaded.patched.set(to: .original).sites == 10_000)
  }
}
