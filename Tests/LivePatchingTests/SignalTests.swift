// SPDX-License-Identifier: Apache-2.0

import CPatchCore
import CTestSupport
import CallSites
import Glibc
import TestSupport
import Testing
import Units

@testable import LivePatching

/// The program's own SIGTRAP and SIGSEGV still get what is theirs.
///
/// Each case in a process of its own: what a process does when it is signalled is the point.
@Suite(.ownProcess) struct SignalTests {
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

  /// SA_RESETHAND: the handler is for the first, the second one kills.
  @Test func aHandlerForOneSignalIsCalledOnce() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .signal(SIGTRAP)) { [path = path as String] in
      _ = cts_install_handler(SIGTRAP, Int32(CTS_HANDLER_FOR_ONE))
      try? Self.patchOnce(path)
      _ = cts_own_int3()
      if cts_signals_handled() == 1 { _ = cts_own_int3() }
      exit(0)
    }
  }

  /// A handler could wait for a thread that is stopped, or jump away from open text.
  @Test func noHandlerRunsOnThePatchersThreadMeanwhile() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let fixture = try PatchFixture(path: path)
      let raw = RawTransaction(
        fixture, [try fixture.site(of: "f12")], method: .stopMachine, writer: .processMemory)
      _ = raw.sabotage(CTS_LOCK_PAGE)
      try #require(npc_patch_prepare() == 0)
      try #require(cts_interrupt_patcher(raw.pokes[0].address) == 0)
      #expect(raw.execute().status == NPC_OK)
      let seen = cts_text_seen_by_handler() & 0xff_ffff_ffff
      #expect(seen == 0x0000_44_1f_0f, "\(String(seen, radix: 16)), not the new bytes")
    }
  }

  @Test func anInt3NobodyHandlesKills() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .signal(SIGTRAP)) { [path = path as String] in
      _ = cts_install_handler(SIGTRAP, Int32(CTS_DEFAULT))
      try? Self.patchOnce(path)
      _ = cts_own_int3()
    }
    // The kernel lets no process ignore a trap of the CPU's.
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

  /// A program that sets a SIGTRAP handler after us keeps it: no int3 is written that its handler
  /// would get.
  @Test func aHandlerThatCameLaterKeepsSIGTRAP() async throws {
    let path = try PatchRow.gccMcount.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      try Self.patchOnce(path)
      #expect(cts_install_handler(SIGTRAP, Int32(CTS_PLAIN_HANDLER)) == 0)
      let fixture = try PatchFixture(path: path)
      let patched = try fixture.patched()
      for way in [
        Way(method: .breakpoint, writer: .mprotect),
        Way(method: .stopMachine, writer: .processMemory),
      ] {
        let error = #expect(throws: PatchError.self) {
          try patched.set(to: .nop, options: way.options)
        }
        #expect(
          error?.description == "\(path): an int3 is needed here, and SIGTRAP has a handler that "
            + "is not this library's: use the jump guard, or remove that handler; "
            + "nothing was written")
        #expect(fixture.textIsAsInFile)
      }
      try patched.set(to: .nop, options: PatchOptions(method: .jumpGuard))
      try patched.set(to: .original, options: PatchOptions(method: .stopMachine))
      #expect(cts_signals_handled() == 0)
      _ = cts_own_int3()
      #expect(cts_signals_handled() == 1)
    }
  }

  /// Nor is a fault risked that its handler would get: the kernel is asked for the pages.
  @Test func aHandlerThatCameLaterKeepsSIGSEGV() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      try Self.patchOnce(path)
      #expect(cts_install_handler(SIGSEGV, Int32(CTS_PLAIN_HANDLER)) == 0)
      let fixture = try PatchFixture(path: path)
      let patched = try fixture.patched()
      try patched.set(to: .nop)
      try patched.set(to: .original)
      let page = patched.address(of: try fixture.site(of: "f12")).rounded(downTo: 4096)
      #expect(mprotect(page.pointer, 4096, PROT_NONE) == 0)
      let error = #expect(throws: PatchError.self) { try patched.set(to: .nop) }
      #expect(error?.reason == .unreadable && error?.function == "f12")
      #expect(cts_signals_handled() == 0)
    }
  }

  /// Before a module's first instruction no signal is needed, and none is taken.
  @Test func aQuietPatcherTakesNoSignal() async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      func taken() -> [Int32] {
        (1...64).filter { signal in
          var action = sigaction()
          return sigaction(signal, nil, &action) == 0
            && action.__sigaction_handler.sa_handler != nil
        }
      }
      let before = taken()
      let fixture = try PatchFixture(path: path)
      let sites = Array(fixture.table.sites.indices)
      #expect(npc_patch_prepare_quiet() == 0)
      var result = npc_result()
      for method in PatchProtocol.allCases where method != .none && method != .jumpGuard {
        let raw = RawTransaction(fixture, sites, method: method)
        #expect(!npc_transaction_execute(&raw.transaction, &result))
        #expect(result.status == NPC_UNSUITABLE && result.phase == NPC_PHASE_PREPARE)
      }
      #expect(fixture.textIsAsInFile)
      for isBack in [false, true] {
        let raw = RawTransaction(fixture, sites, back: isBack, method: .none)
        #expect(npc_transaction_execute(&raw.transaction, &result))
        #expect(try fixture.callAll() == 0)
      }
      let site = fixture.table.sites[try fixture.site(of: "f12")]
      let page = (fixture.module.loadBias + site.offset).rounded(downTo: 4096)
      let raw = RawTransaction(fixture, sites, method: .none)
      let place = page.pointer
      #expect(mprotect(place, 4096, PROT_NONE) == 0)
      #expect(!npc_transaction_execute(&raw.transaction, &result))
      #expect(result.status == NPC_UNREADABLE && result.phase == NPC_PHASE_VERIFY)
      #expect(mprotect(place, 4096, PROT_READ | PROT_EXEC) == 0)
      #expect(fixture.textIsAsInFile)
      #expect(taken() == before)
    }
  }

  /// Handlers that block every signal, on a stack of their own, a thousand times a second and more
  /// often: they run the functions whose text changes.
  @Test(arguments: [
    Way(method: .stopMachine, writer: .mprotect), Way(method: .jumpGuard, writer: .mprotect),
  ])
  func handlersRunTheTextWhileItChanges(way: Way) async throws {
    let path = try PatchRow.clangFentry.fixture.build()
    let isGuard = way.method == .jumpGuard
    await #expect(processExitsWith: .success) {
      [path = path as String, isGuard = isGuard as Bool] in
      let fixture = try PatchFixture(path: path)
      let patched = try fixture.patched()
      let options = PatchOptions(method: isGuard ? .jumpGuard : .stopMachine)
      let stub = SiteState.call(try fixture.stub())
      let calls = try fixture.calls
      let storm = try #require(cts_storm_start(calls, calls.count))
      var flips = 0
      // On a busy machine all of these handlers may run while the sites are no calls of the stub.
      while flips < 500 || cts_storm_handled() < 5000 || cts_entries() == 0 {
        for state in [SiteState.nop, stub, .original] {
          try patched.set(to: state, options: options)
          flips += 1
        }
      }
      #expect(cts_storm_stop(storm) == 0)
      #expect(cts_entries() > 0)
      #expect(fixture.textIsAsInFile)
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
  /// other modules, are over: the trap is ours all the same, and would kill the process.
  @Test func aLateTrapIsHandled() throws {
    let fixtures = try [PatchRow.clangMcount, .clangFentry, .gccMcount].map(PatchFixture.init)
    let patched = try fixtures.map { try $0.patched() }
    for module in patched { try module.set(to: .nop, options: PatchOptions(method: .breakpoint)) }
    var next: UInt64 = 0
    for module in patched {
      let site = module.address(of: 0)
      #expect(cts_forged_trap((site + 1).rawValue, &next) && next == site.rawValue)
    }
    // Not ours: text that was never written, a debugger's int3, and the program's own `int $3`.
    let untouched = try PatchFixture(.gccPatchable)
    #expect(!cts_forged_trap(try untouched.patched().address(of: 0).rawValue + 1, &next))
    let site = patched[0].address(of: 0)
    let nop = fixtures[0].live(site, 5)
    try fixtures[0].overwrite(site, [0xcc])
    #expect(!cts_forged_trap(site.rawValue + 1, &next))
    try fixtures[0].overwrite(site, [0xcd, 0x03])
    #expect(!cts_forged_trap(site.rawValue + 2, &next))
    try fixtures[0].overwrite(site, nop)
    #expect(cts_forged_trap((site + 1).rawValue, &next) && next == site.rawValue)
    for module in patched { try module.set(to: .original) }
  }
}
