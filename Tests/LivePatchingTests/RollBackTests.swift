// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CTestSupport
import CallSites
import Foundation
import TestSupport
import Testing
import Units

@testable import LivePatching

/// A transaction that fails half-way leaves nothing behind, or says what it had to leave.
@Suite(.ownProcess) struct RollBackTests {
  /// The page of f12 becomes a shared mapping of the same bytes: it can be read, but written
  /// neither by /proc/self/mem (EIO) nor after mprotect (EACCES: the file is open for reading).
  private func replacePage(
    _ fixture: PatchFixture, _ saboteur: UnsafeMutablePointer<cts_saboteur>
  ) throws -> Int32 {
    let site = fixture.table.sites[try fixture.site(of: "f12")]
    let image = fixture.table.image
    let file = open(fixture.path, O_RDONLY | O_CLOEXEC)
    let page = site.offset.rounded(downTo: 4096)
    saboteur.pointee.page = (fixture.module.loadBias + page).rawValue
    saboteur.pointee.file = file
    saboteur.pointee.offset = Int64(try #require(image.fileOffset(ofAddress: page, size: 4096)))
    return file
  }

  @Test(arguments: [PatchProtocol.stopMachine, .breakpoint, .none])
  func aWriteThatFailsHalfWayIsPutBack(method: PatchProtocol) throws {
    let fixture = try PatchFixture(.clangFentry)
    let raw = RawTransaction(
      fixture, Array(fixture.table.sites.indices), method: method, writer: .processMemory)
    let saboteur = raw.sabotage(CTS_REPLACE_PAGE)
    let file = try replacePage(fixture, saboteur)
    defer { close(file) }
    let result = raw.execute()
    #expect(result.status == NPC_UNWRITABLE && result.phase == NPC_PHASE_WRITE)
    #expect(result.error == EIO || result.error == EFAULT)
    #expect(result.rolled_back && !result.left_changed)
    #expect(fixture.textIsAsInFile)
    #expect(try fixture.callAll() == 0)
    let error = PatchError(
      result, pokes: Array(raw.pokes), module: fixture.module, table: fixture.table)
    let site = fixture.table.sites[try fixture.site(of: "f12")]
    #expect(
      error.description == "\(fixture.path)+\(site.offset) (f12): "
        + "the write was refused (\(String(cString: strerror(result.error)))): "
        + "try the other writer (mprotect, procmem) (what had been written was put back)")
  }

  @Test(arguments: [PatchProtocol.stopMachine, .jumpGuard, .breakpoint])
  func aPageThatCannotBeOpenedClosesTheOthers(method: PatchProtocol) throws {
    let fixture = try PatchFixture(.clangFentry)
    let raw = RawTransaction(fixture, Array(fixture.table.sites.indices), method: method)
    let saboteur = raw.sabotage(CTS_REPLACE_PAGE)
    let file = try replacePage(fixture, saboteur)
    defer { close(file) }
    let result = raw.execute()
    #expect(result.status == NPC_UNWRITABLE && result.phase == NPC_PHASE_OPEN)
    #expect(result.error == EACCES)
    #expect(!result.rolled_back && !result.left_changed)
    #expect(fixture.textIsAsInFile)
    #expect(fixture.pagePermissions == ["r-xp", "r-xs"])
    let error = PatchError(
      result, pokes: Array(raw.pokes), module: fixture.module, table: fixture.table)
    #expect(
      error.description == "\(fixture.path): the text cannot be opened for writing "
        + "(Permission denied); nothing was written: try the other writer (mprotect, procmem)")
  }

  /// Between the look that Capstone confirmed and the write other code changes a byte.
  @Test(arguments: Way.all) func bytesAreComparedAgainBeforeTheWrite(way: Way) throws {
    guard way.serves(.e8) else { return }
    let fixture = try PatchFixture(.clangFentry)
    let alias = try SharedPage(fixture, "f12")
    let raw = RawTransaction(
      fixture, Array(fixture.table.sites.indices), method: way.method, writer: way.writer)
    let saboteur = raw.sabotage(CTS_CHANGE_BYTE)
    let site = try fixture.site(of: "f13")
    saboteur.pointee.alias = alias.byte(at: raw.pokes[site].address)
    let before = fixture.text
    let result = raw.execute()
    #expect(result.status == NPC_MISMATCH)
    #expect(result.phase == (result.protocol == NPC_PROTOCOL_STOP_MACHINE ? 3 : 2))
    #expect(result.index == UInt64(site) && result.actual.0 == 0xcc)
    #expect(!result.rolled_back && !result.left_changed)
    let differing = zip(before, fixture.text).count { $0 != $1 }
    #expect(differing == 1, "the saboteur's own byte, and no other")
  }

  /// Another patcher changes a byte between the write and the look at what was written.
  @Test func whatIsReadBackIsCompared() throws {
    let fixture = try PatchFixture(.clangFentry)
    let site = try fixture.site(of: "f12")
    let sites = Array(fixture.table.sites.indices)
    let raw = RawTransaction(fixture, sites, method: .stopMachine, writer: .processMemory)
    let saboteur = raw.sabotage(CTS_LOCK_PAGE)
    let address = UInt(raw.pokes[site].address)
    saboteur.pointee.page = UInt64(address & ~4095)
    let head = try #require(UnsafeMutablePointer<UInt8>(bitPattern: address))
    try #require(npc_patch_prepare() == 0)
    // The head is the last that is written: 0f of `0f 1f 44 00 00`.
    try #require(cts_change_at_read_back(head, 0x0f, head + 4, 0x77) == 0)
    let result = raw.execute()
    #expect(cts_read_back_was_changed())
    #expect(result.status == NPC_READ_BACK && result.phase == NPC_PHASE_READ_BACK)
    #expect(result.index == UInt64(site))
    #expect(fixture.bytes(of: site) == [0x0f, 0x1f, 0x44, 0x00, 0x77], "not ours any more")
    #expect(!result.rolled_back && result.left_changed)
    for other in sites where other != site {
      let original = fixture.table.originalBytes(of: fixture.table.sites[other])
      #expect(fixture.bytes(of: other) == original)
    }
    let description = PatchError(
      result, pokes: sites.map { RawTransaction.poke(fixture, $0) }, module: fixture.module,
      table: fixture.table
    ).description
    #expect(
      description.hasSuffix(
        ": wrote, but read back 0f 1f 44 00 77: other code patches this text too "
          + "(what had been written could not be put back: audit names it)"))
  }
}

/// The page of a function, replaced by shared memory with the same bytes: what somebody else's
/// mapping of it writes is seen in the text at once.
final class SharedPage {
  private let alias: UnsafeMutableRawPointer
  private let page: UInt64

  init(_ fixture: PatchFixture, _ function: String) throws {
    page = UInt64(UInt(bitPattern: try fixture.library.symbol(function))) & ~4095
    guard let alias = cts_share_page(page) else {
      throw TestSupportError("no shared page for \(function)")
    }
    self.alias = alias
  }

  deinit { munmap(alias, 4096) }

  func byte(at address: UInt64) -> UnsafeMutablePointer<UInt8> {
    (alias + Int(address - page)).assumingMemoryBound(to: UInt8.self)
  }
}
