// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CTestSupport
import CallSites
import Glibc
import TestSupport
import Testing

@testable import LivePatching

/// The program's own SIGTRAP and SIGSEGV still get what is theirs.
///
/// Each case in a process of its own: what a process does when it is signalled is the point.
@Suite(.serialized, .exclusive) struct SignalTests {
  /// Patches once, so that the dispatcher stands before the program's handler.
  static func patchOnce(_ path: String) throws {
    let fixture = try PatchFixture(path: path)
    let patched = try fixture.patched()
    try patched.set(to: .nop, options: PatchOptions(method: .breakpoint))
    try patched.set(to: .original, options: PatchOptions(method: .breakpoint))
    #expect(fixture.textIsAsInFile)
  }

  @Test func anInt3OfTheProgramsOwnReachesItsHandler() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      #expect(cts_install_handler(SIGTRAP, Int32(CTS_INFO_HANDLER)) == 0)
      try Self.patchOnce(path)
      let place = cts_own_int3()
      #expect(cts_signals_handled() == 1)
      #expect(cts_last_code() == 0x80)  // SI_KERNEL
      #expect(cts_last_place() == place)
      raise(SIGTRAP)
      #expect(cts_signals_handled() == 2)
    }
    await #expect(processExitsWith: .success) { [path = path as String] in
      #expect(cts_install_handler(SIGTRAP, Int32(CTS_PLAIN_HANDLER)) == 0)
      try Self.patchOnce(path)
      _ = cts_own_int3()
      #expect(cts_signals_handled() == 1)
    }
  }

  @Test func anInt3NobodyHandlesKills() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .signal(SIGTRAP)) { [path = path as String] in
      _ = cts_install_handler(SIGTRAP, Int32(CTS_DEFAULT))
      try? Self.patchOnce(path)
      _ = cts_own_int3()
    }
    // The kernel lets nobody ignore a trap of the CPU's.
    await #expect(processExitsWith: .signal(SIGTRAP)) { [path = path as String] in
      _ = cts_install_handler(SIGTRAP, Int32(CTS_IGNORE))
      try? Self.patchOnce(path)
      _ = cts_own_int3()
    }
  }

  @Test func aTrapThatIsSentIsIgnoredWhereTheProgramIgnoresIt() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      _ = cts_install_handler(SIGTRAP, Int32(CTS_IGNORE))
      try Self.patchOnce(path)
      raise(SIGTRAP)
    }
  }

  @Test func aRealFaultReachesItsHandler() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    for kind in [CTS_PLAIN_HANDLER, CTS_INFO_HANDLER] {
      let kind = Int32(kind)
      await #expect(processExitsWith: .success) { [path = path as String, kind = kind as Int32] in
        #expect(cts_install_handler(SIGSEGV, kind) == 0)
        try Self.patchOnce(path)
        cts_own_fault()
        cts_own_fault()
        #expect(cts_signals_handled() == 2)
      }
    }
  }

  @Test func aRealFaultNobodyHandlesKills() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    for kind in [CTS_DEFAULT, CTS_IGNORE] {
      let kind = Int32(kind)
      await #expect(processExitsWith: .signal(SIGSEGV)) {
        [path = path as String, kind = kind as Int32] in
        _ = cts_install_handler(SIGSEGV, kind)
        try? Self.patchOnce(path)
        cts_own_fault()
      }
    }
  }

  /// A thread that met an int3 may be scheduled to its handler only when other transactions, of
  /// other modules, are over: the trap is ours all the same, and would be the process's death.
  @Test func aTrapThatIsLateIsOurs() throws {
    let fixtures = try [PatchRow.clangMcount, .clangFentry, .gccMcount].map(PatchFixture.init)
    let patched = try fixtures.map { try $0.patched() }
    for module in patched { try module.set(to: .nop, options: PatchOptions(method: .breakpoint)) }
    var next: UInt64 = 0
    for module in patched {
      let site = module.address(of: 0)
      #expect(cts_forged_trap(site + 1, &next) && next == site)
    }
    // Not ours: text that was never written, a debugger's int3, and the program's own `int $3`.
    let untouched = try PatchFixture(.gccPatchable)
    #expect(!cts_forged_trap(try untouched.patched().address(of: 0) + 1, &next))
    let site = patched[0].address(of: 0)
    let nop = fixtures[0].live(site, 5)
    try fixtures[0].overwrite(site, [0xcc])
    #expect(!cts_forged_trap(site + 1, &next))
    try fixtures[0].overwrite(site, [0xcd, 0x03])
    #expect(!cts_forged_trap(site + 2, &next))
    try fixtures[0].overwrite(site, nop)
    #expect(cts_forged_trap(site + 1, &next) && next == site)
    for module in patched { try module.set(to: .original) }
  }
}
