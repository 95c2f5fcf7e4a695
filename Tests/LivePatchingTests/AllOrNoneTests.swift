// SPDX-License-Identifier: Apache-2.0

import CMachineCode
import CPatchCore
import CTestSupport
import CallSites
import Foundation
import TestSupport
import Testing
import TextFormat
import Units

@testable import LivePatching

/// One thing is wrong with one of many sites: the error says what and where, and not one byte of
/// text is written.
@Suite(.ownProcess) struct AllOrNoneTests {
  /// Expects `patched.set` to fail with the text before and after the same; the error.
  private func refused(
    _ fixture: PatchFixture, _ patched: PatchedModule, _ state: SiteState = .nop,
    _ options: PatchOptions = PatchOptions()
  ) throws -> PatchError {
    let before = fixture.text
    let error = #expect(throws: PatchError.self) { try patched.set(to: state, options: options) }
    #expect(fixture.text == before)
    #expect(fixture.pagePermissions == ["r-xp"])
    #expect(!patched.changes.contains { _ in true })
    return try #require(error)
  }

  /// The same for a raw transaction.
  private func refused(_ fixture: PatchFixture, _ raw: RawTransaction) -> npc_result {
    let before = fixture.text
    let result = raw.execute()
    #expect(fixture.text == before)
    #expect(fixture.pagePermissions == ["r-xp"])
    #expect(!result.rolled_back && !result.left_changed)
    return result
  }

  @Test(arguments: [PatchRow.clangMcount, .clangFentry, .gccMcount, .gccPatchable], Way.all)
  func oneChangedByteStopsAll(row: PatchRow, way: Way) throws {
    guard way.serves(row.form) else { return }
    let fixture = try PatchFixture(row)
    let patched = try fixture.patched()
    let site = try fixture.site(of: "f17")
    guard patched.sites(servedBy: way.method).count == fixture.table.sites.count else { return }
    let original = fixture.bytes(of: site)
    var changed = original
    changed[3] ^= 0x40
    try fixture.overwrite(patched.address(of: site), changed)
    let error = try refused(fixture, patched, .nop, way.options)
    #expect(error.reason == .mismatch)
    #expect(error.phase == .verify)
    let offset = fixture.table.sites[site].offset
    #expect(
      error.description
        == "\(fixture.path)+\(offset) (f17): expected \(hexDigits(original, separator: " ")), "
        + "found \(hexDigits(changed, separator: " ")): other code changed these bytes; "
        + "nothing was written")
    try fixture.overwrite(patched.address(of: site), original)
    #expect(fixture.textIsAsInFile)
  }

  @Test func aBreakpointOfADebuggerIsNamed() throws {
    let fixture = try PatchFixture(.clangMcount)
    let patched = try fixture.patched()
    let site = try fixture.site(of: "f3")
    let original = fixture.bytes(of: site)
    try fixture.overwrite(patched.address(of: site), [0xcc])
    let error = try refused(fixture, patched)
    let offset = fixture.table.sites[site].offset
    let found = hexDigits([0xcc] + original.dropFirst(), separator: " ")
    #expect(
      error.description
        == "\(fixture.path)+\(offset) (f3): expected \(hexDigits(original, separator: " ")), found \(found): "
        + "a debugger's breakpoint? Detach it first")
    try fixture.overwrite(patched.address(of: site), original)
  }

  /// Right bytes, wrong instruction: the comparison alone would let it pass.
  @Test(arguments: [NIK_NOP, NIK_CALL_SLOT, NIK_JUMP]) func theKindIsConfirmed(kind: Int) throws {
    let fixture = try PatchFixture(.clangMcount)
    let raw = RawTransaction(fixture, Array(fixture.table.sites.indices))
    raw.pokes[9].expected_kind = UInt8(kind)
    let result = refused(fixture, raw)
    #expect(result.status == NPC_UNCONFIRMED)
    #expect(result.phase == NPC_PHASE_VERIFY)
    #expect(result.has_index && result.index == 9)
  }

  @Test func theTargetIsConfirmed() throws {
    let fixture = try PatchFixture(.clangMcount)
    let raw = RawTransaction(fixture, Array(fixture.table.sites.indices))
    raw.pokes[11].target += 16
    let result = refused(fixture, raw)
    #expect(result.status == NPC_UNCONFIRMED && result.index == 11)
    let error = PatchError(
      result, pokes: Array(raw.pokes), module: fixture.module, table: fixture.table)
    let site = fixture.table.sites[11]
    let name = try #require(fixture.table.functionName(of: site))
    #expect(
      error.description
        == "\(fixture.path)+\(site.offset) (\(name)): "
        + "\(hexDigits(fixture.bytes(of: 11), separator: " ")) is not the instruction expected there, "
        + "by Capstone's decoding")
  }

  enum Shape: CaseIterable { case unsorted, twice, overlapping, short, long, empty }

  @Test(arguments: Shape.allCases) func badPokesAreRefused(shape: Shape) throws {
    let fixture = try PatchFixture(.clangMcount)
    let raw = RawTransaction(fixture, Array(fixture.table.sites.indices))
    switch shape {
    case .unsorted: raw.pokes.swapAt(5, 6)
    case .twice: raw.pokes[6] = raw.pokes[5]
    case .overlapping: raw.pokes[6].address = raw.pokes[5].address + 4
    case .short: raw.pokes[6].length = 4
    case .long: raw.pokes[6].length = 7
    case .empty: raw.pokes[6].length = 0
    }
    let result = refused(fixture, raw)
    #expect(result.status == NPC_BAD_POKE)
    #expect(result.index == 6)
  }

  @Test func placesOutsideTheTextAreRefused() throws {
    let fixture = try PatchFixture(.clangMcount)
    let last = fixture.table.sites.count - 1
    for address in [fixture.module.text.upperBound - 2, fixture.module.span.upperBound - 64] {
      let raw = RawTransaction(fixture, Array(fixture.table.sites.indices))
      raw.pokes[last].address = address.rawValue
      let result = refused(fixture, raw)
      #expect(result.status == NPC_OUTSIDE_TEXT && result.index == UInt64(last))
    }
    let raw = RawTransaction(fixture, Array(fixture.table.sites.indices))
    raw.pokes[0].address = fixture.module.span.lowerBound - 4096
    #expect(refused(fixture, raw).status == NPC_OUTSIDE_TEXT)
  }

  @Test func anotherBuildIsRefused() throws {
    let fixture = try PatchFixture(.clangMcount)
    var other = try #require(fixture.module.buildID)
    other[7] ^= 1
    other.withUnsafeBufferPointer { id in
      let raw = RawTransaction(fixture, [0, 1])
      raw.transaction.build_id = id.baseAddress
      #expect(refused(fixture, raw).status == NPC_MODULE_GONE)
      raw.transaction.build_id_length = 0
      #expect(refused(fixture, raw).status == NPC_MODULE_GONE)
    }
    let gcc = try PatchFixture(.gccMcount)
    let error = #expect(throws: PatchError.self) {
      try PatchedModule(module: gcc.module, table: fixture.table, decoder: fixture.decoder)
    }
    #expect(
      error?.description
        == "\(gcc.path): is not loaded, or another build of it is; nothing was written")
  }

  @Test func aSiteThatTheProtocolCannotServeStopsAll() throws {
    let fixture = try PatchFixture(
      PatchRow(.gcc, "-pg -mfentry -falign-functions=1", .ff15, .fentry))
    let patched = try fixture.patched()
    let odd = try #require(
      fixture.table.sites.indices.first { patched.address(of: $0).rawValue % 2 == 1 },
      "no site at an odd address in \(fixture.path)")
    let error = try refused(fixture, patched, .nop, PatchOptions(method: .jumpGuard))
    let site = fixture.table.sites[odd]
    #expect(error.reason == .unsuitable)
    #expect(
      error.description
        == "\(fixture.path)+\(site.offset) "
        + "(\(fixture.table.functionName(of: site) ?? "?")): "
        + "the protocol cannot patch this site; use stop-machine")
  }

  @Test func aStubOutOfReachIsRefused() throws {
    let fixture = try PatchFixture(.clangMcount)
    let patched = try fixture.patched()
    let far = EntryStub(address: fixture.module.span.lowerBound - 0x1_0000_0000)
    let error = try refused(fixture, patched, .call(far))
    let site = fixture.table.sites[0]
    #expect(error.reason == .outOfReach)
    #expect(
      error.description
        == "\(fixture.path)+\(site.offset) "
        + "(\(fixture.table.functionName(of: site) ?? "?")): "
        + "its stub is out of reach of a 32-bit displacement")
  }

  @Test func anUnloadedModuleIsRefusedAndItsOldPlaceUntouched() throws {
    let fixture = try PatchFixture(.clangMcount)
    let patched = try fixture.patched()
    let raw = RawTransaction(fixture, Array(fixture.table.sites.indices))
    fixture.library.close()
    let span = fixture.module.span
    let size = Int(span.byteCount)
    // The same bytes at the same address, in memory of somebody else's.
    let memory = try #require(
      mmap(
        span.lowerBound.pointer, size,
        PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0))
    #expect(CodeAddress(memory) == span.lowerBound)
    defer { munmap(memory, size) }
    for site in fixture.table.sites {
      (memory + Int(site.offset.rawValue)).copyMemory(
        from: fixture.table.originalBytes(of: site), byteCount: site.length)
    }
    let before = fixture.live(span.lowerBound, size)
    let error = #expect(throws: PatchError.self) { try patched.set(to: .nop) }
    #expect(error?.reason == .moduleGone)
    #expect(raw.execute().status == NPC_MODULE_GONE)
    #expect(fixture.live(span.lowerBound, size) == before)
  }

  @Test func anUnloadOfAnythingMakesATransactionStaleThatAsksForIt() throws {
    let fixture = try PatchFixture(.clangMcount)
    let raw = RawTransaction(fixture, Array(fixture.table.sites.indices))
    raw.transaction.check_unloads = true
    raw.transaction.subs = try #require(LoadedModule.all().first).unloadCount
    try PatchFixture(.gccMcount).library.close()
    let result = refused(fixture, raw)
    #expect(result.status == NPC_STALE && result.phase == NPC_PHASE_PREPARE)
    raw.transaction.subs = try #require(LoadedModule.all().first).unloadCount
    #expect(raw.execute().status == NPC_OK)
    #expect(
      PatchError(result, pokes: [], module: fixture.module, table: fixture.table).description
        == "\(fixture.path): modules were unloaded since this one was looked at; look again "
        + "(nothing was written)")
  }

  @Test func aPageThatIsGoneIsAnErrorNotACrash() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let fixture = try PatchFixture(path: path)
      let patched = try fixture.patched()
      let site = try fixture.site(of: "f12")
      let page = patched.address(of: site).rounded(downTo: 4096)
      let first = fixture.module.text.lowerBound
      let before = fixture.live(first, Int(page - first))
      // Not unmapped: this very process would soon have something else there.
      #expect(mprotect(page.pointer, 4096, PROT_NONE) == 0)
      for way in Way.all where way.serves(.e8) {
        let error = #expect(throws: PatchError.self) {
          try patched.set(to: .nop, options: way.options)
        }
        let offset = fixture.table.sites[site].offset
        #expect(error?.reason == .unreadable)
        #expect(
          error?.description == "\(path)+\(offset) (f12): expected "
            + "\(hexDigits(fixture.table.originalBytes(of: fixture.table.sites[site]), separator: " ")), "
            + "but nothing is mapped there now")
      }
      #expect(fixture.live(first, Int(page - first)) == before)
      #expect(permissions(in: first..<page) == ["r-xp"])
      #expect(permissions(in: page..<page + 4096) == ["---p"])
    }
  }
}
