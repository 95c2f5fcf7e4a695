// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CTestSupport
import CallSites
import Foundation
import TestSupport
import Testing

@testable import LivePatching

/// A system that forbids one way of writing text.
///
/// One line says so, nothing is written, no page is left writable, and the other way works. Each in
/// a process of its own, which stays so.
@Suite(.ownProcess) struct RefusalTests {
  static let refusedText =
    ": the text cannot be opened for writing (%s); nothing was written: "
    + "try the other writer (mprotect, procmem)"

  /// Expects every way of `writer` to be refused with `reason`, and the other writer to work.
  static func expectRefused(
    _ path: String, _ writer: TextWriter, _ reason: String, _ refuse: () -> Int32
  ) throws {
    let fixture = try PatchFixture(path: path)
    let patched = try fixture.patched()
    try patched.set(to: .nop)
    try patched.set(to: .original)
    #expect(refuse() == 0)
    for way in Way.all where way.serves(.e8) && way.writer == writer {
      let error = #expect(throws: PatchError.self) {
        try patched.set(to: .nop, options: way.options)
      }
      let text = refusedText.replacingOccurrences(of: "%s", with: reason)
      #expect(error?.description == path + text, "\(way)")
      #expect(error?.reason == .unwritable && error?.phase == .open)
      #expect(fixture.textIsAsInFile)
      #expect(fixture.pagePermissions == ["r-xp"])
      #expect(patched.changes.isEmpty)
    }
  }

  static func expectServed(_ path: String, _ writer: TextWriter) throws {
    let fixture = try PatchFixture(path: path)
    let patched = try fixture.patched()
    for way in Way.all where way.serves(.e8) && way.writer == writer {
      try patched.set(to: .nop, options: way.options)
      #expect(try fixture.callAll() == 0)
      try patched.set(to: .original, options: way.options)
      #expect(fixture.textIsAsInFile)
    }
  }

  @Test func noExecutableGain() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      try Self.expectRefused(path, .mprotect, "Permission denied", cts_refuse_executable_gain)
      try Self.expectServed(path, .processMemory)
    }
  }

  @Test func noStubWhereNothingBecomesExecutable() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let fixture = try PatchFixture(path: path)
      #expect(cts_refuse_executable_gain() == 0)
      let error = #expect(throws: EntryStubError.self) { try fixture.stub() }
      #expect(
        error?.description == "an entry stub cannot be made executable (Permission denied): is "
          + "making memory executable forbidden here (PR_SET_MDWE, SELinux, a seccomp filter)?")
    }
  }

  @Test func aFilterOfWritableAndExecutable() async throws {
    let path = try PatchRow.gccMcount.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      try Self.expectRefused(path, .mprotect, "Operation not permitted") {
        cts_refuse_mprotect(PROT_READ | PROT_WRITE | PROT_EXEC)
      }
      try Self.expectServed(path, .processMemory)
    }
  }

  @Test func noFileToOpen() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let fixture = try PatchFixture(path: path)
      let patched = try fixture.patched()
      try patched.set(to: .nop)
      try patched.set(to: .original)
      #expect(cts_refuse_open(0) == 0)
      func refusal(_ method: PatchProtocol, _ writer: TextWriter) -> String? {
        #expect(throws: PatchError.self) {
          try patched.set(to: .nop, options: PatchOptions(method: method, writer: writer))
        }?.description
      }
      let noMemory =
        path + ": the text cannot be opened for writing (Too many open files); "
        + "nothing was written: try the other writer (mprotect, procmem)"
      let noThreads =
        path + ": the threads could not be stopped (Too many open files); "
        + "nothing was written"
      #expect(refusal(.stopMachine, .processMemory) == noMemory)
      #expect(refusal(.stopMachine, .mprotect) == noThreads)
      // Whether a thread blocks SIGTRAP cannot be seen: an int3 is not risked.
      #expect(refusal(.breakpoint, .mprotect) == noThreads)
      try patched.set(to: .nop, options: PatchOptions(method: .jumpGuard))
      try patched.set(to: .original, options: PatchOptions(method: .jumpGuard))
      try #require(cts_refuse_open(4) == 0)
      #expect(fixture.textIsAsInFile)
      #expect(fixture.pagePermissions == ["r-xp"])
    }
  }

  /// What needs /proc says so; the jump guard with mprotect needs none.
  @Test(.enabled(if: geteuid() == 0, "only root may unmount"), arguments: [false, true])
  func noProc(refusesBoth: Bool) async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) {
      [path = path as String, refusesBoth = refusesBoth as Bool] in
      let fixture = try PatchFixture(path: path)
      let patched = try fixture.patched()
      try patched.set(to: .nop)
      try patched.set(to: .original)
      let text = fixture.text
      #expect(cts_refuse_proc() == 0)
      if refusesBoth { #expect(cts_refuse_mprotect(PROT_READ | PROT_WRITE | PROT_EXEC) == 0) }
      for way in Way.all where way.serves(.e8) {
        let isOpen = way.writer == .mprotect && !refusesBoth
        if isOpen, [.automatic, .jumpGuard].contains(way.method) {
          try patched.set(to: .nop, options: way.options)
          #expect(try fixture.callAll() == 0)
          try patched.set(to: .original, options: way.options)
          continue
        }
        let error = #expect(throws: PatchError.self) {
          try patched.set(to: .nop, options: way.options)
        }
        let number = way.writer == .mprotect && refusesBoth ? EPERM : ENOENT
        #expect(error?.errorNumber == number, "\(way)")
        #expect(error?.reason == (isOpen ? .notStopped : .unwritable), "\(way)")
        #expect(error?.description.hasSuffix("nothing was written") == true || !isOpen)
      }
      #expect(fixture.text == text)
    }
  }

  @Test func noMembarrierInTheMiddle() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let fixture = try PatchFixture(path: path)
      let patched = try fixture.patched()
      try patched.set(to: .nop)
      try patched.set(to: .original)
      #expect(cts_refuse_membarrier() == 0)
      for way in Way.all where way.serves(.e8) {
        let error = #expect(throws: PatchError.self) {
          try patched.set(to: .nop, options: way.options)
        }
        #expect(error?.reason == .noSync && error?.phase == .write)
        #expect(error?.isRolledBack == true)
        #expect(
          error?.description == path + ": membarrier is refused (Operation not permitted): live "
            + "patching needs Linux 4.16 or later (what had been written was put back)")
        #expect(fixture.textIsAsInFile)
        #expect(fixture.pagePermissions == ["r-xp"])
      }
    }
  }

  @Test func noMembarrierFromTheStart() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let fixture = try PatchFixture(path: path)
      let patched = try fixture.patched()
      #expect(cts_refuse_membarrier() == 0)
      let error = #expect(throws: PatchError.self) { try patched.set(to: .nop) }
      #expect(
        error?.description == path + ": membarrier is refused (Operation not permitted): live "
          + "patching needs Linux 4.16 or later")
      #expect(fixture.textIsAsInFile)
    }
  }

  /// The only failure behind which the bytes are written: the journal has them.
  @Test func textThatCannotBeClosedIsReportedAndInTheJournal() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let fixture = try PatchFixture(path: path)
      let patched = try fixture.patched()
      #expect(cts_refuse_mprotect(PROT_READ | PROT_EXEC) == 0)
      let error = #expect(throws: PatchError.self) { try patched.set(to: .nop) }
      #expect(error?.phase == .close)
      #expect(
        error?.description
          == path + ": written, but the text could not be closed again (Operation not permitted)")
      #expect(patched.changes.count == fixture.table.sites.count)
      #expect(patched.changes.allSatisfy { fixture.live($0.address, 5) == $0.current })
      try patched.set(to: .original, options: PatchOptions(writer: .processMemory))
      #expect(fixture.textIsAsInFile)
    }
  }
}
