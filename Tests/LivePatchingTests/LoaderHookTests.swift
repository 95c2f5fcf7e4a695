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

/// The jump in the loader, and what comes of its announcements.
@Suite(.ownProcess) struct LoaderHookTests {
  /// Events of what `body` does; `watched` is the build-id of the module that matters.
  static func events(of watched: [UInt8], _ body: () throws -> Void) throws -> [cts_event] {
    var events = [cts_event](repeating: cts_event(), count: 64)
    try #require(cts_events_start(watched, UInt32(watched.count)) == 0)
    defer { _ = cts_events_stop(&events, 0) }
    try body()
    let count = cts_events_stop(&events, events.count)
    return Array(events.prefix(count))
  }

  /// Installs the hook for the time of `body`, and expects the loader's text as it was after it.
  static func hooked(_ body: (Decoder) throws -> Void) throws {
    let decoder = try Decoder()
    try LoaderHook.install(decoder: decoder)
    defer { #expect(throws: Never.self) { try LoaderHook.remove() } }
    try body(decoder)
  }

  static func buildID(_ path: String) throws -> [UInt8] {
    try #require(SiteTable.discover(path: path, decoder: Decoder()).buildID)
  }

  static func list(_ events: [cts_event]) -> [String] {
    let names = [1: "added", 2: "deleting", 3: "deleted", 100: "other thread"]
    return events.map { "\(names[Int($0.event)] ?? "?")\($0.listed ? ", listed" : "")" }
  }

  @Test func loadAndUnloadAreAnnouncedInOrder() throws {
    let path = try PatchRow.clangMcount.fixture.build()
    try Self.hooked { _ in
      let events = try Self.events(of: Self.buildID(path)) { try Library(path: path).close() }
      #expect(Self.list(events) == ["added, listed", "deleting, listed", "deleted"])
    }
  }

  @Test func nothingIsAnnouncedWithoutTheHook() throws {
    let path = try PatchRow.clangMcount.fixture.build()
    try Self.hooked { _ in }
    let events = try Self.events(of: Self.buildID(path)) { try Library(path: path).close() }
    #expect(events.isEmpty)
  }

  @Test func oneOfTwoReferencesDoesNotEndTheGeneration() throws {
    try Self.hooked { _ in
      let fixture = try PatchFixture(.clangMcount)
      let patched = try fixture.patched()
      try patched.set(to: .nop)
      let id = try #require(fixture.module.buildID)
      let events = try Self.events(of: id) { try Library(path: fixture.path).close() }
      #expect(events.isEmpty)
      #expect(patched.isLoaded)
      try patched.set(to: .original)
      fixture.library.close()
      #expect(!patched.isLoaded)
      let error = #expect(throws: PatchError.self) { try patched.set(to: .nop) }
      #expect(error?.reason == .moduleGone)
    }
  }

  @Test func reloadIsAnotherGeneration() throws {
    try Self.hooked { _ in
      let first = try PatchFixture(.clangMcount)
      let patched = try first.patched()
      let untouched = try first.patched()
      try patched.set(to: .nop)
      first.library.close()
      let second = try PatchFixture(path: first.path)
      #expect(!patched.isLoaded)
      #expect(second.textIsAsInFile)
      #expect(throws: PatchError.self) { try patched.set(to: .original) }
      // It normally stands at the same address: the bytes are right, the generation is not.
      let error = #expect(throws: PatchError.self) { try untouched.set(to: .nop) }
      #expect(error?.reason == .moduleGone)
      #expect(second.textIsAsInFile)
      try second.patched().set(to: .nop)
    }
  }

  /// What was seen before an unload may be another generation by now, at the same place.
  @Test func aModuleSeenBeforeAnUnloadIsNotTaken() throws {
    try Self.hooked { _ in
      let first = try PatchFixture(.clangMcount)
      let seen = first.module
      first.library.close()
      let second = try PatchFixture(path: first.path)
      let error = #expect(throws: PatchError.self) {
        try PatchedModule(module: seen, table: second.table, decoder: second.decoder)
      }
      #expect(error?.reason == .stale)
      let gone = second.module
      try second.patched().set(to: .nop)
      second.library.close()
      #expect(throws: PatchError.self) {
        try PatchedModule(module: gone, table: second.table, decoder: second.decoder)
      }
    }
  }

  /// Where code is not separated, program headers and build-id lie beside the text: when that is
  /// unmapped or covered, a walk over all modules must not fault on it.
  /// `isOthers`: SIGSEGV has a handler of the program's meanwhile.
  static func patchWithoutHeaders(_ path: String, isCovered: Bool, isOthers: Bool = false) throws {
    try LoaderHook.install(decoder: Decoder())
    let fixture = try PatchFixture(path: path)
    let patched = try fixture.patched()
    // Never closed: its destructors' text is about to go.
    _ = fixture.library.relinquish()
    let start = fixture.module.span.lowerBound.pointer
    if isCovered {
      let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
      #expect(mmap(start, 4096, PROT_NONE, flags, -1, 0) == start)
    } else {
      #expect(munmap(start, 4096) == 0)
    }
    if isOthers { #expect(cts_install_handler(SIGSEGV, Int32(CTS_PLAIN_HANDLER)) == 0) }
    let error = #expect(throws: PatchError.self) { try patched.set(to: .nop) }
    #expect(error?.reason == .moduleGone)
    #expect(cts_signals_handled() == 0)
    let other = try PatchFixture(.gccMcount)
    try other.patched().set(to: .nop)
    #expect(try other.callAll() == 0)
    other.library.close()
    _exit(0)
  }

  private func unseparated() throws -> String {
    let row = PatchRow.gccMcount.fixture
    return try Fixture(
      row.compiler, row.compile, link: ["-Wl,-z,noseparate-code"], source: row.source
    ).build()
  }

  @Test func aModuleWhoseHeadersWereUnmappedIsRefused() async throws {
    let path = try unseparated()
    await #expect(processExitsWith: .exitCode(0)) { [path = path as String] in
      try Self.patchWithoutHeaders(path, isCovered: false)
    }
  }

  @Test func aModuleWhoseHeadersAreCoveredIsRefused() async throws {
    let path = try unseparated()
    await #expect(processExitsWith: .exitCode(0)) { [path = path as String] in
      try Self.patchWithoutHeaders(path, isCovered: true)
    }
  }

  /// The fault would go to the program's handler, so the kernel is asked.
  @Test func aModuleWithoutHeadersIsRefusedWhereTheProgramHandlesSIGSEGV() async throws {
    let path = try unseparated()
    await #expect(processExitsWith: .exitCode(0)) { [path = path as String] in
      try Self.patchWithoutHeaders(path, isCovered: true, isOthers: true)
    }
  }

  @Test func nobodyPatchesWhileMemoryChangesHands() throws {
    let path = try PatchRow.clangMcount.fixture.build()
    try Self.hooked { _ in
      let events = try Self.events(of: Self.buildID(path)) {
        let library = try Library(path: path)
        cts_events_race()
        library.close()
      }
      #expect(
        Self.list(events) == ["added, listed", "deleting, listed", "deleted", "other thread"])
    }
  }

  @Test func aLoadThatFailsLeavesNothingBehind() throws {
    let folder = try TemporaryFolder.shared.fresh("broken")
    let good = try PatchRow.clangMcount.fixture.build()
    let bytes = try Data(contentsOf: URL(fileURLWithPath: good))
    try bytes.prefix(50).write(to: URL(fileURLWithPath: folder + "/cut.so"))
    try ProgramFile.copy(good, to: folder + "/gone.so")
    let orphan = try Fixture(
      .gcc, ["-O1"],
      link: ["-Wl,-rpath," + folder, "-L" + folder, "-Wl,--no-as-needed", "-l:gone.so"],
      source: "int f0(int); int orphan(int a) { return f0(a); }"
    ).build()
    try FileManager.default.removeItem(atPath: folder + "/gone.so")
    let needy = Fixture(
      .gcc, ["-O1"], link: ["-Wl,-z,now"],
      source: "int nowhere_to_be_found(void); int f0(int a) { return a + nowhere_to_be_found(); }")
    try Self.hooked { _ in
      for path in [folder + "/cut.so", orphan, try needy.build(), folder + "/none.so"] {
        let events = try Self.events(of: Self.buildID(good)) {
          #expect(throws: LibraryError.self) { try Library(path: path) }
          try Library(path: good).close()
        }
        // Whatever the loader says of the failure, the good one's load follows, and nobody holds
        // the lock.
        #expect(Self.list(events).suffix(3) == ["added, listed", "deleting, listed", "deleted"])
      }
      let isFree = Locked()
      Thread {
        npc_patch_lock()
        isFree.value = true
        npc_patch_unlock()
      }.start()
      #expect(comesTrue { isFree.value })
    }
  }

  /// The hook is removed while a dlclose waits in it for the patch lock: no later hook call would
  /// release it.
  @Test func removingTheHookDuringAnUnloadReleasesTheLock() async throws {
    let path = try PatchRow.clangMcount.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      try LoaderHook.install(decoder: Decoder())
      let library = try Library(path: path).relinquish()
      let handle = UInt(bitPattern: library)
      let (thread, isClosed, isFree) = (LockedNumber(), LockedNumber(), LockedNumber())
      npc_patch_lock()
      Thread {
        thread.value = cts_this_thread()
        dlclose(UnsafeMutableRawPointer(bitPattern: handle)!)
        isClosed.value = 1
      }.start()
      // In the hook.
      while !isWaitingForALock(thread.value) { usleep(1000) }
      try LoaderHook.remove()
      npc_patch_unlock()
      while isClosed.value == 0 { usleep(1000) }
      Thread {
        npc_patch_lock()
        isFree.value = 1
        npc_patch_unlock()
      }.start()
      #expect(comesTrue { isFree.value == 1 })
    }
  }

  /// Once the hook is out no unload is reported: their count has to stay the same.
  @Test func aGenerationEndsUnannouncedWithoutTheHook() throws {
    for isBack in [false, true] {
      let decoder = try Decoder()
      try LoaderHook.install(decoder: decoder)
      defer { #expect(throws: Never.self) { try LoaderHook.remove() } }
      let first = try PatchFixture(.clangMcount)
      let patched = try first.patched()
      try LoaderHook.remove()
      try patched.set(to: .nop)
      try patched.set(to: .original)
      first.library.close()
      let second = try PatchFixture(path: first.path)
      // The same build, and normally the same address and bytes; another generation.
      if isBack { try LoaderHook.install(decoder: decoder) }
      #expect(!patched.isLoaded)
      let error = #expect(throws: PatchError.self) { try patched.set(to: .nop) }
      #expect(error?.reason == .moduleGone)
      #expect(second.textIsAsInFile)
    }
  }

  @Test func theLoadersTextIsRestored() throws {
    let decoder = try Decoder()
    let own = try #require(LoadedModule.all().first { $0.name.contains("ld-linux") })
    func text() -> [UInt8] {
      Array(
        UnsafeRawBufferPointer(
          start: own.text.lowerBound.pointer, count: Int(own.text.byteCount)))
    }
    let before = text()
    try LoaderHook.install(decoder: decoder)
    #expect(LoaderHook.isInstalled)
    let change = try #require(LoaderHook.change)
    #expect(change.original.count == 5 && change.current[0] == 0xe9)
    #expect(zip(before, text()).count { $0 != $1 } <= 5)
    #expect(permissions(in: own.text) == ["r-xp"])
    try LoaderHook.install(decoder: decoder)
    try LoaderHook.remove()
    #expect(text() == before)
    #expect(permissions(in: own.text) == ["r-xp"])
    #expect(LoaderHook.change == nil)
    try LoaderHook.remove()
    #expect(text() == before)
  }

  @Test func aDebuggersBreakpointThereIsLeftAlone() async {
    await #expect(processExitsWith: .success) {
      let decoder = try Decoder()
      try LoaderHook.install(decoder: decoder)
      let place = try #require(LoaderHook.change)
      try LoaderHook.remove()
      let memory = open("/proc/self/mem", O_RDWR)
      #expect(pwrite(memory, [0xcc] as [UInt8], 1, off_t(place.address.rawValue)) == 1)
      let error = #expect(throws: LoaderHookError.self) {
        try LoaderHook.install(decoder: decoder)
      }
      #expect(error?.errorNumber == EBUSY)
      #expect(
        error?.description == "the loader's debug hook holds other bytes than the loader's own: a "
          + "debugger's breakpoint, or another tracer? Detach it first")
      #expect(!LoaderHook.isInstalled && LoaderHook.change == nil)
      let at = place.address.pointer?.assumingMemoryBound(to: UInt8.self)
      #expect(at?.pointee == 0xcc)
      #expect(pwrite(memory, place.original, 1, off_t(place.address.rawValue)) == 1)
      // The same when other code puts one over our jump.
      try LoaderHook.install(decoder: decoder)
      #expect(pwrite(memory, [0xcc] as [UInt8], 1, off_t(place.address.rawValue)) == 1)
      #expect(throws: LoaderHookError.self) { try LoaderHook.remove() }
      #expect(at?.pointee == 0xcc)
    }
  }

  /// A module without a build-id can be any other one: a plan does not touch it.
  @Test func aPlanWithoutABuildIDTouchesNothing() throws {
    let row = PatchRow.clangMcount.fixture
    let nameless = Fixture(
      row.compiler, row.compile, link: ["-Wl,--build-id=none"], source: row.source)
    let path = try nameless.build()
    try Self.hooked { decoder in
      let table = try SiteTable.discover(path: path, decoder: decoder)
      #expect(table.buildID == nil)
      let plan = LoadPlan(nopping: table, writer: .mprotect, decoder: decoder)
      let fixture = try PatchFixture(path: path)
      #expect(!plan.isLoaded && plan.current.number == 0)
      #expect(fixture.textIsAsInFile)
    }
  }
}
