// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CTestSupport
import CallSites
import Foundation
import MachineCode
import TestSupport
import Testing
import Units

@testable import LivePatching

private enum Phase {
  static let toCall = "Setting ftrace call site to call ftrace function"
  static let nop: [UInt8] = [0x0f, 0x1f, 0x44, 0x00, 0x00]
}

/// The first anomaly is reported in full and turns the engine off for good; the kill patches
/// nothing.
@Suite(.ownProcess) struct FailStopTests {
  /// An engine with one module loaded, `f9` its site in question.
  struct Stage {
    let engine: StaticEngine
    let library: Library
    let fixture: PatchFixture
    let site: Int

    init(path: String, options: PatchOptions = PatchOptions()) throws {
      let decoder = try Decoder()
      engine = try StaticEngine(decoder: decoder, options: options)
      let table = try SiteTable.discover(path: path, decoder: decoder)
      try engine.adopt(table)
      library = try engine.load(path)
      fixture = try PatchFixture(path: path)
      site = try fixture.site(of: "f9")
    }

    var address: CodeAddress { fixture.module.loadBias + fixture.table.sites[site].offset }
    func start() throws { try engine.startTracer(StaticEngineTests.counter) }

    /// Expects the bug, its whole text, and that nothing is patched by it or after it.
    func expectBug(
      _ kind: String, _ phase: String, flags: Int = 0, actual: [UInt8] = [],
      expected: [UInt8] = [], isAboutSite: Bool = true, _ body: () throws -> Void
    ) throws {
      let before = fixture.text
      let bug = try #require(#expect(throws: FtraceBug.self, performing: body))
      func colons(_ bytes: [UInt8]) -> String {
        bytes.map { String(format: "%02x", $0) }.joined(separator: ":")
      }
      var lines = ["------------[ ftrace bug ]------------", kind]
      if isAboutSite { lines.append(String(format: " [<%016lx>] f9 [a.out]", address.rawValue)) }
      if !actual.isEmpty { lines.append(" actual:   " + colons(actual)) }
      if !expected.isEmpty { lines.append(" expected: " + colons(expected)) }
      lines += [phase, "ftrace record flags: \(flags)", "the tracer is off for good"]
      #expect(bug.description == lines.joined(separator: "\n"))
      #expect(engine.bug == bug)
      #expect(fixture.text == before, "the kill patches nothing")
      try expectOff(bug, before)
    }

    private func expectOff(_ bug: FtraceBug, _ text: [UInt8]) throws {
      #expect(throws: bug) { try start() }
      #expect(throws: bug) { try engine.stopTracer() }
      #expect(throws: bug) { try engine.setFilter { _ in true } }
      #expect(throws: bug) { try engine.synchronize() }
      #expect(throws: bug) { try engine.load(fixture.path) }
      try engine.detach()
      #expect(fixture.text == text)
    }
  }

  private func staged(
    _ options: PatchOptions = PatchOptions(), _ body: (Stage) throws -> Void
  ) throws {
    let stage = try Stage(path: PatchRow.clangMcount.fixture.build(), options: options)
    defer { #expect(throws: Never.self) { try LoaderHook.remove() } }
    try body(stage)
  }

  @Test func aWrongByteWhenTheTracerStarts() throws {
    try staged { stage in
      try stage.fixture.overwrite(stage.address, [0xcc])
      try stage.expectBug(
        "ftrace failed to modify", Phase.toCall, actual: [0xcc] + Phase.nop.dropFirst(),
        expected: Phase.nop
      ) { try stage.start() }
    }
  }

  @Test func aWrongByteWhenTheTracerStops() throws {
    try staged { stage in
      try stage.start()
      let call = stage.fixture.bytes(of: stage.site)
      try stage.fixture.overwrite(stage.address + 1, [~call[1]])
      var actual = call
      actual[1] = ~call[1]
      try stage.expectBug(
        "ftrace failed to modify", "Setting ftrace call site to NOP", flags: 2, actual: actual,
        expected: call
      ) { try stage.engine.stopTracer() }
    }
  }

  @Test func aWrongByteWhenTheEngineLeaves() throws {
    try staged { stage in
      try stage.fixture.overwrite(stage.address + 2, [0x45])
      try stage.expectBug(
        "ftrace failed to modify",
        "Updating ftrace call site to call a different ftrace function",
        actual: [0x0f, 0x1f, 0x45, 0, 0], expected: Phase.nop
      ) { try stage.engine.detach() }
    }
  }

  /// The file was changed behind its build-id: found before the module's first instruction.
  @Test func aWrongByteWhenTheModuleComes() throws {
    let folder = try TemporaryFolder.shared.fresh("changed")
    let path = try PatchRow.clangMcount.fixture.build()
    let decoder = try Decoder()
    let table = try SiteTable.discover(path: path, decoder: decoder)
    let site = try #require(table.sites.first { table.functionName(of: $0) == "f9" })
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    let at = try #require(table.image.fileOffset(ofAddress: site.offset, size: 5))
    bytes[Int(at) + 4] ^= 0x11
    let changed = Array(bytes[Int(at)..<Int(at) + 5])
    try Data(bytes).write(to: URL(fileURLWithPath: folder + "/a.out"))
    let engine = try StaticEngine(decoder: decoder)
    defer { #expect(throws: Never.self) { try LoaderHook.remove() } }
    try engine.adopt(table)
    let bug = try #require(
      #expect(throws: FtraceBug.self) { try engine.load(folder + "/a.out") })
    #expect(bug.kind == .mismatch && bug.phase == .initializing)
    #expect(bug.error.actual == changed)
    #expect(bug.error.expected == table.originalBytes(of: site))
    #expect(engine.recordCount == 0)
    // Off for good: the right file is not converted either, whoever loads it.
    let right = try PatchFixture(path: path)
    #expect(right.textIsAsInFile)
    #expect(throws: bug) { try engine.synchronize() }
    #expect(engine.recordCount == 0)
  }

  @Test func aThreadThatDoesNotStopIsAnUnknownError() throws {
    let options = PatchOptions(method: .stopMachine, stopTimeoutMilliseconds: 50)
    try staged(options) { stage in
      let blocking = try #require(cts_thread_start(Int32(CTS_SPINS_BLOCKING)))
      defer { cts_thread_stop(blocking) }
      try stage.expectBug(
        "ftrace faulted on unknown error", Phase.toCall, isAboutSite: false
      ) { try stage.start() }
    }
  }

  @Test func textThatIsGone() async throws {
    let path = try PatchRow.clangMcount.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let stage = try Stage(path: path)
      // Not unmapped: this very process would soon have something else there.
      let page = stage.address.rounded(downTo: 4096).pointer
      #expect(mprotect(page, 4096, PROT_NONE) == 0)
      let bug = try #require(#expect(throws: FtraceBug.self) { try stage.start() })
      let lines = bug.description.split(separator: "\n")
      #expect(lines.dropFirst().first == "ftrace faulted on modifying")
      #expect(lines.contains { $0 == Phase.toCall })
      #expect(bug.kind == .unreadable && bug.error.actual == [])
      #expect(throws: bug) { try stage.start() }
    }
  }

  @Test func textThatCannotBeWritten() async throws {
    let path = try PatchRow.clangMcount.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let stage = try Stage(path: path)
      // A stub has to be made executable too: it stands before the refusal.
      try stage.start()
      try stage.engine.stopTracer()
      #expect(cts_refuse_executable_gain() == 0)
      try stage.expectBug("ftrace faulted on writing", Phase.toCall, isAboutSite: false) {
        try stage.start()
      }
    }
  }
}
