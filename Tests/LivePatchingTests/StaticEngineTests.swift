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

/// The engine on real modules; each test ends with the loader's own text in place.
@Suite(.ownProcess) struct StaticEngineTests {
  static func withEngine(
    _ rows: [PatchRow], _ body: (StaticEngine, [SiteTable]) throws -> Void
  ) throws {
    let decoder = try Decoder()
    let engine = try StaticEngine(decoder: decoder)
    defer { #expect(throws: Never.self) { try LoaderHook.remove() } }
    let tables = try rows.map {
      try SiteTable.discover(path: $0.fixture.build(), decoder: decoder)
    }
    for table in tables { try engine.adopt(table) }
    try body(engine, tables)
  }

  static var counter: UnsafeRawPointer { cts_count_entry_address() }
  static let nops: [[UInt8]] = [[0x0f, 0x1f, 0x44, 0, 0], [0x66, 0x0f, 0x1f, 0x44, 0, 0]]

  /// The module that the engine loaded, seen by an independent reader.
  static func loaded(_ table: SiteTable) throws -> PatchFixture {
    try PatchFixture(path: table.path)
  }

  @Test(arguments: PatchRow.all) func constructorsFindEverySiteANop(row: PatchRow) throws {
    try Self.withEngine([row]) { engine, tables in
      let table = tables[0]
      let library = try engine.load(table.path)
      let seen = try library.symbol("constructed")
      let function = unsafeBitCast(seen, to: (@convention(c) () -> UnsafePointer<UInt8>).self)
      let f0 = try #require(table.sites.first { table.functionName(of: $0) == "f0" })
      let bytes = Array(
        UnsafeBufferPointer(start: function() + Int(f0.functionOffset), count: f0.length))
      let isNop = row.form == .nop5 || row.form == .nop6
      #expect(bytes == (isNop ? table.originalBytes(of: f0) : Self.nops[f0.length - 5]))
      let fixture = try Self.loaded(table)
      #expect(try fixture.callAll() == 0)
      #expect(fixture.pagePermissions == ["r-xp"])
      #expect(engine.recordCount == table.sites.count)
      try engine.detach()
      #expect(fixture.textIsAsInFile)
    }
  }

  @Test func tracingCountsEveryCallAndStops() throws {
    try Self.withEngine([.clangMcount, .gccMcount]) { engine, tables in
      let libraries = try tables.map { try engine.load($0.path) }
      let fixtures = try tables.map(Self.loaded)
      let all = tables.reduce(0) { $0 + $1.sites.count }
      #expect(engine.recordCount == all)
      #expect(try engine.startTracer(Self.counter) == all)
      #expect(try engine.startTracer(Self.counter) == 0, "armed already")
      let before = cts_entries()
      for fixture in fixtures { #expect(try fixture.callAll() == 0) }
      #expect(cts_entries() - before == UInt64(2 * PatchRow.functionCount))
      #expect(try engine.stopTracer() == all)
      for fixture in fixtures { #expect(try fixture.callAll() == 0) }
      #expect(cts_entries() - before == UInt64(2 * PatchRow.functionCount))
      try engine.detach()
      for fixture in fixtures { #expect(fixture.textIsAsInFile) }
      #expect(engine.recordCount == 0)
      _ = libraries
    }
  }

  /// Each start would take a page of stubs, and one of a module's 254 states.
  @Test func theTracerStartsAsOftenAsOneLikes() throws {
    try Self.withEngine([.clangFentry]) { engine, tables in
      let library = try engine.load(tables[0].path)
      try engine.startTracer(Self.counter)
      try engine.stopTracer()
      let before = mappings().count { $0.permissions == "r-xp" }
      for _ in 0..<300 {
        try engine.startTracer(Self.counter)
        try engine.stopTracer()
      }
      #expect(mappings().count { $0.permissions == "r-xp" } == before)
      try engine.detach()
      _ = library
    }
  }

  @Test func recordsAndMarksEndWithTheirModule() throws {
    try Self.withEngine([.clangMcount]) { engine, tables in
      let table = tables[0]
      let library = try engine.load(table.path)
      try engine.setFilter { $0 == "f3" || $0 == "f4" }
      #expect(try engine.startTracer(Self.counter) == 2)
      let first = try #require(engine.module(of: table))
      library.close()
      #expect(engine.recordCount == 0)
      #expect(!first.isLoaded)
      try engine.synchronize()
      #expect(engine.releasedRecords == table.sites.count)
      #expect(engine.module(of: table) == nil)
      let again = try engine.load(table.path)
      let second = try #require(engine.module(of: table))
      #expect(second !== first)
      #expect(table.sites.indices.allSatisfy { second.state(of: $0) == .nop })
      #expect(try engine.startTracer(Self.counter) == 0, "it came unmarked")
      #expect(throws: PatchError.self) { try first.set(to: .original) }
      #expect(second.changes.count == table.sites.count)
      try engine.detach()
      #expect(try Self.loaded(table).textIsAsInFile)
      again.close()
      #expect(engine.releasedRecords == table.sites.count, "detached records are not released")
    }
  }

  @Test func aLibraryThatComesAsADependencyIsConverted() throws {
    let folder = try TemporaryFolder.shared.fresh("dependency")
    let inner = try PatchRow.clangMcount.fixture.build()
    let outer = Fixture(
      .gcc, ["-O1"],
      link: ["-Wl,-rpath," + folder, "-L" + folder, "-Wl,--no-as-needed", "-l:inner.so"],
      source:
        "int f0(int); __attribute__((visibility(\"default\"))) int outer(int a) { return f0(a); }")
    try ProgramFile.copy(inner, to: folder + "/inner.so")
    let decoder = try Decoder()
    let engine = try StaticEngine(decoder: decoder)
    defer { #expect(throws: Never.self) { try LoaderHook.remove() } }
    let table = try SiteTable.discover(path: folder + "/inner.so", decoder: decoder)
    try engine.adopt(table)
    let library = try engine.load(outer.build())
    let module = try #require(engine.module(of: table))
    #expect(table.sites.indices.allSatisfy { module.state(of: $0) == .nop })
    let fixture = try Self.loaded(table)
    #expect(fixture.bytes(of: 0) == Self.nops[0])
    #expect(engine.bug == nil)
    try engine.detach()
    #expect(fixture.textIsAsInFile)
    _ = library
  }

  /// Its code may run at any moment: plain stores would tear an instruction under a thread.
  @Test func aModuleThatWasThereBeforeIsLeftAlone() throws {
    let fixture = try PatchFixture(.clangMcount)
    try Self.withEngine([.clangMcount, .gccMcount]) { engine, tables in
      let other = try engine.load(tables[1].path)
      #expect(fixture.textIsAsInFile)
      #expect(engine.module(of: tables[0]) == nil)
      #expect(engine.recordCount == tables[1].sites.count)
      try engine.detach()
      _ = other
    }
  }

  /// Whenever another thread closes the module, be it between the engine's look and its write.
  @Test func aModuleThatGoesMeanwhileIsNoAnomaly() async throws {
    let path = try PatchRow.clangMcount.fixture.build()
    await #expect(processExitsWith: .success) { [path = path as String] in
      let decoder = try Decoder()
      let engine = try StaticEngine(decoder: decoder)
      try engine.adopt(try SiteTable.discover(path: path, decoder: decoder))
      let (loads, ends) = (LockedNumber(), LockedNumber())
      Thread {
        while ends.value == 0 {
          _ = try? Library(path: path)
          loads.value += 1
        }
        ends.value = 2
      }.start()
      var armed = 0
      while loads.value < 3000 || armed < 100 {
        armed += try engine.startTracer(Self.counter)
        try engine.stopTracer()
      }
      ends.value = 1
      while ends.value != 2 { usleep(1000) }
      #expect(engine.bug == nil)
      let library = try engine.load(path)
      #expect(try engine.startTracer(Self.counter) > 0)
      try engine.detach()
      try LoaderHook.remove()
      _ = library
    }
  }

  /// A debugger's breakpoint stood over our jump when it came: its code may run by now.
  @Test func aModuleThatCameUnseenIsLeftAlone() throws {
    try Self.withEngine([.clangMcount, .gccMcount]) { engine, tables in
      let jump = try #require(LoaderHook.change)
      let memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC)
      defer { close(memory) }
      #expect(pwrite(memory, Array(jump.original[..<1]), 1, off_t(jump.address.rawValue)) == 1)
      let unseen = try PatchFixture(path: tables[0].path)
      #expect(pwrite(memory, Array(jump.current[..<1]), 1, off_t(jump.address.rawValue)) == 1)
      let other = try engine.load(tables[1].path)
      // Neither is the next one known to run nothing yet.
      #expect(unseen.textIsAsInFile)
      #expect(engine.module(of: tables[0]) == nil)
      #expect(engine.recordCount == 0)
      other.close()
      let again = try engine.load(tables[1].path)
      #expect(engine.recordCount == tables[1].sites.count)
      try engine.detach()
      again.close()
    }
  }

  /// Two copies of one build at two places: the second was there when the first went.
  @Test func aSecondCopyIsNotTakenForTheFirst() throws {
    let folder = try TemporaryFolder.shared.fresh("copies")
    let path = try PatchRow.clangMcount.fixture.build()
    try ProgramFile.copy(path, to: folder + "/copy.so")
    try Self.withEngine([.clangMcount]) { engine, tables in
      let first = try engine.load(tables[0].path)
      let copy = try PatchFixture(path: folder + "/copy.so")
      #expect(copy.textIsAsInFile)
      try engine.synchronize()
      first.close()
      try PatchFixture(.gccMcount).library.close()
      try engine.synchronize()
      #expect(copy.textIsAsInFile)
      #expect(engine.recordCount == 0 && engine.bug == nil)
    }
  }

  @Test func tablesThatCannotBeServedAreRefusedWithAReason() throws {
    let decoder = try Decoder()
    let engine = try StaticEngine(decoder: decoder)
    defer { #expect(throws: Never.self) { try LoaderHook.remove() } }
    let recorded = Fixture(
      .gcc, ["-O1", "-pg", "-mrecord-mcount", "-fno-inline"], link: ["-Wl,-z,notext"],
      source: PatchRow.source)
    let path = try recorded.build()
    let relocated = try SiteTable.discover(path: path, decoder: decoder)
    try #require(relocated.hasTextRelocations)
    let error = #expect(throws: StaticEngineError.self) { try engine.adopt(relocated) }
    #expect(
      error?.description == "\(path): has text relocations (DT_TEXTREL), which the loader writes "
        + "after the sites are converted; link it with -z text and compile it with -fPIC; it is "
        + "left alone")
    let nameless = Fixture(
      .clang, ["-O1", "-pg"], link: ["-Wl,--build-id=none"], source: PatchRow.source)
    let unnamed = try SiteTable.discover(path: nameless.build(), decoder: decoder)
    #expect(throws: StaticEngineError.noBuildID(path: unnamed.path)) {
      try engine.adopt(unnamed)
    }
    let library = try engine.load(path)
    #expect(try Self.loaded(relocated).callAll() == 0)
    #expect(engine.recordCount == 0 && engine.bug == nil)
    _ = library
  }
}
