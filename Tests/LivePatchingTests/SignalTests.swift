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
  /// another module, are over: the trap is ours all the same, and would be the process's death.
  @Test func aTrapThatIsLateIsOurs() async {
    await #expect(processExitsWith: .success) {
      let busy = try PatchFixture(.clangMcount)
      let other = try PatchFixture(.clangFentry)
      let (first, second) = (try busy.patched(), try other.patched())
      let callers = try Callers(of: busy, threads: 8)
      let options = PatchOptions(method: .breakpoint)
      for round in 0..<3000 {
        let state: SiteState = round % 2 == 0 ? .nop : .original
        try first.set(to: state, options: options)
        try second.set([0], to: state, options: options)
      }
      #expect(callers.stop() == 0)
    }
  }
}
