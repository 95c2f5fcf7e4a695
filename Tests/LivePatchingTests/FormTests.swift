// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CTestSupport
import CallSites
import TestSupport
import Testing
import Units

@testable import LivePatching

/// A way to write.
struct Way: Sendable, CustomStringConvertible {
  var method: PatchProtocol
  var writer: TextWriter
  var description: String { "\(method) \(writer)" }
  var options: PatchOptions { PatchOptions(method: method, writer: writer) }

  static let all: [Way] = [PatchProtocol.automatic, .stopMachine, .jumpGuard, .breakpoint].flatMap {
    method in TextWriter.allCases.map { Way(method: method, writer: $0) }
  }

  /// The jump guard's pair of bytes is one store only through mprotect; five nops are neither the
  /// guard's nor the breakpoint's.
  func serves(_ form: CallSite.Form) -> Bool {
    switch method {
    case .jumpGuard: form != .nop1x5 && writer == .mprotect
    case .breakpoint: form != .nop1x5
    default: true
    }
  }
}

@Suite(.ownProcess) struct FormTests {
  @Test(arguments: PatchRow.all) func compilersMakeTheForm(row: PatchRow) throws {
    let fixture = try PatchFixture(row)
    #expect(fixture.table.sites.count >= PatchRow.functionCount)
    #expect(fixture.table.sites.allSatisfy { $0.form == row.form && $0.kind == row.kind })
    #expect(fixture.textIsAsInFile)
    #expect(try fixture.callAll() == 0)
  }

  /// Also where the run of nops is what comes: a thread may stand in it before all is done.
  @Test func aRunOfNopsAsReplacementNeedsStopMachine() throws {
    let fixture = try PatchFixture(.gccPatchable)
    let patched = try fixture.patched()
    try patched.set(to: .nop)
    for method in [PatchProtocol.jumpGuard, .breakpoint] {
      let error = #expect(throws: PatchError.self) {
        try patched.set(to: .original, options: PatchOptions(method: method))
      }
      #expect(error?.reason == .unsuitable)
    }
    #expect(try patched.set(to: .original).method == .stopMachine)
    #expect(fixture.textIsAsInFile)
  }

  /// A function in a segment that its program writes too: its pages stay as they were.
  @Test func eachSegmentKeepsItsOwnProtection() throws {
    let row = PatchRow.gccMcount.fixture
    let open = Fixture(
      row.compiler, row.compile,
      source: PatchRow.source
        + "__attribute__((noinline, section(\".open,\\\"awx\\\",@progbits#\"))) "
        + "int open_one(int a) { return a + 3; }\n")
    let fixture = try PatchFixture(path: open.build())
    let patched = try fixture.patched()
    func isOpen(_ site: Int) -> Bool {
      let place = patched.address(of: site)
      return permissions(in: place..<place + 6) == ["rwxp"]
    }
    let one = try fixture.site(of: "open_one")
    for method in [PatchProtocol.stopMachine, .automatic] {
      for state in [SiteState.nop, .original] {
        try patched.set(to: state, options: PatchOptions(method: method))
        #expect(fixture.table.sites.indices.filter(isOpen) == [one])
      }
    }
    #expect(try fixture.callAll() == 0)
  }

  @Test(arguments: PatchRow.all, Way.all)
  func eachSiteGoesToNopToCallToNopAndBack(row: PatchRow, way: Way) throws {
    guard way.serves(row.form) else { return try isRefused(row, way) }
    let fixture = try PatchFixture(row)
    let patched = try fixture.patched()
    let stub = try fixture.stub()
    let sites = patched.sites(servedBy: way.method)
    #expect(sites.count >= PatchRow.functionCount / 2)
    let isNopAlready = row.form == .nop5 || row.form == .nop6
    for state in [SiteState.nop, .call(stub), .nop, .original] {
      let wasOriginal = patched.state(of: sites[0]) == .original
      let report = try patched.set(sites, to: state, options: way.options)
      let isSame = isNopAlready && (wasOriginal || state == .original)
      #expect(report.sites == (isSame ? 0 : sites.count))
      try check(fixture, patched, sites, state)
    }
    #expect(fixture.textIsAsInFile)
    #expect(patched.changes.isEmpty)
  }

  private func check(
    _ fixture: PatchFixture, _ patched: PatchedModule, _ sites: [Int], _ state: SiteState
  ) throws {
    for site in sites {
      #expect(fixture.bytes(of: site) == expected(fixture, site, state))
      #expect(patched.state(of: site) == state)
    }
    #expect(fixture.pagePermissions == ["r-xp"])
    let before = cts_entries()
    #expect(try fixture.callAll() == 0)
    let called = sites.filter { site in
      fixture.table.functionName(of: fixture.table.sites[site])?.first == "f"
    }
    let isArmed = if case .call = state { true } else { false }
    #expect(cts_entries() - before == (isArmed ? UInt64(called.count) : 0))
  }

  /// The bytes by their encodings in the manuals, by no code of the package's own.
  private func expected(_ fixture: PatchFixture, _ site: Int, _ state: SiteState) -> [UInt8] {
    let callSite = fixture.table.sites[site]
    let original = fixture.table.originalBytes(of: callSite)
    switch state {
    case .original: return original
    case .nop:
      if callSite.form == .nop5 || callSite.form == .nop6 { return original }
      return (callSite.length == 6 ? [0x66] : []) + [0x0f, 0x1f, 0x44, 0x00, 0x00]
    case .call(let stub):
      let next = fixture.module.loadBias + callSite.offset + UInt64(callSite.length)
      let distance = UInt32(truncatingIfNeeded: stub.address &- next)
      return (callSite.length == 6 ? [0x67] : []) + [0xe8]
        + (0..<4).map { UInt8(truncatingIfNeeded: distance >> ($0 * 8)) }
    }
  }

  private func isRefused(_ row: PatchRow, _ way: Way) throws {
    let fixture = try PatchFixture(row)
    let patched = try fixture.patched()
    let error = #expect(throws: PatchError.self) {
      try patched.set(to: .call(fixture.stub()), options: way.options)
    }
    #expect(error?.reason == .unsuitable)
    #expect(error?.phase == .prepare)
    #expect(fixture.textIsAsInFile)
    #expect(fixture.pagePermissions == ["r-xp"])
  }

  /// Four threads run the very functions; five nops become one instruction and back.
  @Test(arguments: [PatchRow.clangFentry, .gccMcount, .gccPatchable], Way.all)
  func runningThreadsNoticeNothing(row: PatchRow, way: Way) throws {
    guard way.serves(row.form) else { return }
    let fixture = try PatchFixture(row)
    let patched = try fixture.patched()
    let stub = try fixture.stub()
    let sites = patched.sites(servedBy: way.method)
    let callers = try Callers(of: fixture, threads: 4)
    #expect(callers.makeProgress())
    let entries = cts_entries()
    try patched.set(sites, to: .call(stub), options: way.options)
    #expect(callers.makeProgress())
    #expect(cts_entries() > entries)
    for _ in 0..<15 {
      for state in [SiteState.nop, .call(stub), .nop, .original] {
        try patched.set(sites, to: state, options: way.options)
      }
    }
    #expect(callers.makeProgress())
    #expect(callers.stop() == 0)
    #expect(fixture.textIsAsInFile)
    #expect(fixture.pagePermissions == ["r-xp"])
  }

  /// From one stub to another and back: whichever a thread meets, or the int3 between them, each
  /// call is one entry. (The jump guard jumps over the call meanwhile.)
  @Test(arguments: [PatchRow.clangFentry, .gccMcount], TextWriter.allCases)
  func noCallIsLostBetweenTwoStubs(row: PatchRow, writer: TextWriter) throws {
    let options = PatchOptions(method: .breakpoint, writer: writer)
    let fixture = try PatchFixture(row)
    let patched = try fixture.patched()
    let stubs = [try fixture.stub(), try fixture.stub()]
    try patched.set(to: .call(stubs[0]))
    let entries = cts_entries()
    let callers = try Callers(of: fixture, threads: 3)
    for round in 1...150 {
      try patched.set(to: .call(stubs[round % 2]), options: options)
    }
    #expect(callers.stop() == 0)
    #expect(cts_entries() - entries == callers.count)
    try patched.set(to: .original)
  }

  @Test func theJumpGuardIsChosenWhereItServesEverySite() throws {
    let fixture = try PatchFixture(.clangFentry)
    #expect(try fixture.patched().set(to: .nop).method == .jumpGuard)
    let nops = try PatchFixture(.gccPatchable)
    #expect(try nops.patched().set(to: .nop).method == .stopMachine)
    let memory = PatchOptions(writer: .processMemory)
    let other = try PatchFixture(.gccMcount)
    #expect(try other.patched().set(to: .nop, options: memory).method == .stopMachine)
  }

  @Test func aSiteThatIsInTheStateAlreadyIsNotTouched() throws {
    let fixture = try PatchFixture(.clangFentry)
    let patched = try fixture.patched()
    #expect(try patched.set([0, 2], to: .nop).sites == 2)
    #expect(try patched.set(to: .nop).sites == fixture.table.sites.count - 2)
    #expect(try patched.set(to: .nop).sites == 0)
    #expect(patched.changes.count == fixture.table.sites.count)
    #expect(try patched.set(to: .original).sites == fixture.table.sites.count)
  }

  @Test func theJournalIsWhatTheAuditFinds() throws {
    let fixture = try PatchFixture(.gccMcount)
    let patched = try fixture.patched()
    try patched.set([1, 3, 5], to: .call(fixture.stub()))
    let differences = patched.changes.map { change in
      fixture.live(change.address, change.current.count) == change.current
        && change.original != change.current
    }
    #expect(differences == [true, true, true])
    try patched.set(to: .original)
    #expect(patched.changes.isEmpty)
  }
}
