// SPDX-License-Identifier: Apache-2.0

import CallSites
import ELFImage
import Foundation
import MachineCode
import TestSupport
import Testing

/// Names of a stripped program's functions, from each place where its symbols may be.
@Suite struct DebugNamesTests {
  /// A stripped program, and a folder in the part of /usr/lib/debug.
  private struct Setup {
    let program: StrippedProgram
    var debugFiles: DebugFiles

    init() throws {
      program = try StrippedProgram()
      debugFiles = DebugFiles(root: try TemporaryFolder.shared.fresh("debug"))
    }

    var root: String { debugFiles.root }

    func table() throws -> SiteTable {
      try SiteTable.load(path: program.path, decoder: Decoder()).named(by: debugFiles)
    }

    func names() throws -> Set<String> {
      let table = try table()
      return Set(table.sites.compactMap { table.functionName(of: $0) })
    }

    func refusal() throws -> String {
      let refusals = try table().nameOrigin.refusals
      return refusals.map { "\($0)" }.joined(separator: "\n")
    }
  }

  private func expectNames(_ setup: Setup, from source: String) throws {
    #expect(try setup.names() == FixtureSource.instrumented)
    let origin = try setup.table().nameOrigin
    #expect("\(origin)" == source)
    #expect(origin.refusals.isEmpty)
    // Sites are found by the file alone.
    #expect(
      try setup.table().sites
        == SiteTable.discover(path: setup.program.whole, decoder: Decoder()).sites)
  }

  @Test("a program that is not stripped has its own, and nothing is looked for")
  func ownSymbols() throws {
    let setup = try Setup()
    let table = try SiteTable.load(path: setup.program.whole, decoder: Decoder())
    #expect("\(table.nameOrigin)" == ".symtab")
    #expect(!table.nameOrigin.isStripped)
  }

  @Test("without any debug file there are no names, and it is said what would help")
  func nothing() throws {
    let setup = try Setup()
    #expect(try setup.names().isEmpty)
    let origin = try setup.table().nameOrigin
    #expect(origin.description == "none: install its debug symbols or do not strip it")
    #expect(origin.isStripped)
    #expect(origin.refusals.isEmpty)
  }

  @Test("a stripped library's exported functions have names, and it is said that others have none")
  func exported() throws {
    let library = try TemporaryFolder.shared.fresh("stripped") + "/lib.so"
    try Tools.run("strip", ["-s", Fixture(.gcc, ["-O2", "-pg"]).build(), "-o", library])
    let table = try SiteTable.load(path: library, decoder: Decoder())
    #expect(
      "\(table.nameOrigin)"
        == ".dynsym, of exported functions only: install its debug symbols or do not strip it")
    let names = Set(table.sites.compactMap { table.functionName(of: $0) })
    #expect(names == FixtureSource.instrumented.subtracting(["hidden"]))
  }

  @Test(".gnu_debuglink: beside the program, in .debug, and below the distribution's folder")
  func debugLink() throws {
    for place in ["same", "sub", "root"] {
      let setup = try Setup()
      let folder = setup.program.folder
      let file =
        switch place {
        case "same": "\(folder)/p.debug"
        case "sub": "\(folder)/.debug/p.debug"
        default: "\(setup.root)\(folder)/p.debug"
        }
      try setup.program.makeDebugFile(file)
      try setup.program.addLink(to: file)
      try expectNames(setup, from: file)
    }
  }

  @Test("the folder is that of the program, not that of a link to it")
  func throughLink() throws {
    let setup = try Setup()
    let file = setup.program.folder + "/p.debug"
    try setup.program.makeDebugFile(file)
    try setup.program.addLink(to: file)
    let link = try TemporaryFolder.shared.fresh("link") + "/program"
    #expect(symlink(setup.program.path, link) == 0)
    let table = try SiteTable.load(path: link, decoder: Decoder()).named(by: setup.debugFiles)
    #expect(table.nameOrigin.source == .debugFile(file))
  }

  @Test("a debug file whose CRC-32 is another is refused")
  func otherChecksum() throws {
    let setup = try Setup()
    let file = setup.program.folder + "/p.debug"
    try setup.program.makeDebugFile(file)
    try setup.program.addLink(to: file)
    var bytes = try Data(contentsOf: URL(fileURLWithPath: file))
    bytes.append(0)
    try bytes.write(to: URL(fileURLWithPath: file))
    #expect(try setup.names().isEmpty)
    let refusal = try setup.refusal()
    #expect(
      refusal.hasPrefix("no names from \(file): it is not the file that .gnu_debuglink means"))
    #expect(refusal.contains("expected CRC-32 0x") && refusal.contains(", found 0x"))
    // The next place may have the right one.
    let other = setup.program.folder + "/.debug/p.debug"
    try setup.program.makeDebugFile(other)
    #expect(try setup.names() == FixtureSource.instrumented)
    #expect(try setup.table().nameOrigin.source == .debugFile(other))
  }

  @Test("no more bytes are read for checksums than the limit says, all places together")
  func largeFiles() throws {
    var setup = try Setup()
    let file = setup.program.folder + "/p.debug"
    try setup.program.makeDebugFile(file)
    try setup.program.addLink(to: file)
    let size = try Data(contentsOf: URL(fileURLWithPath: file)).count
    setup.debugFiles.mostChecked = UInt64(size)
    #expect(try setup.names() == FixtureSource.instrumented)
    setup.debugFiles.mostChecked = UInt64(size) - 1
    #expect(try setup.names().isEmpty)
    #expect(try setup.refusal().contains("and the CRC-32 of at most \(size - 1) is computed"))
    // One that is refused counts too.
    try FileManager.default.createDirectory(
      atPath: setup.program.folder + "/.debug", withIntermediateDirectories: false)
    try FileManager.default.moveItem(
      atPath: file, toPath: setup.program.folder + "/.debug/p.debug")
    try Data(count: size).write(to: URL(fileURLWithPath: file))
    setup.debugFiles.mostChecked = UInt64(2 * size)
    #expect(try setup.names() == FixtureSource.instrumented)
    setup.debugFiles.mostChecked = UInt64(2 * size) - 1
    #expect(try setup.names().isEmpty)
    // A sparse file of a terabyte ends nothing either.
    #expect(truncate(file, 1 << 40) == 0)
    setup.debugFiles = DebugFiles(root: setup.root)
    #expect(try setup.refusal().contains("\(1 << 40) bytes, and the CRC-32"))
  }

  @Test("the build-id's folder is the first place; a file of another build there is refused")
  func buildID() throws {
    let setup = try Setup()
    let file = setup.program.buildIDPath(below: setup.root)
    try setup.program.makeDebugFile(file)
    let beside = setup.program.folder + "/p.debug"
    try setup.program.makeDebugFile(beside)
    try setup.program.addLink(to: beside)
    try expectNames(setup, from: file)
    let other = try StrippedProgram(flags: ["-O1", "-pg"])
    try FileManager.default.removeItem(atPath: file)
    try other.makeDebugFile(file)
    #expect(try setup.table().nameOrigin.source == .debugFile(beside))
    let refusal = try setup.refusal()
    #expect(
      refusal == "no names from \(file): it belongs to another build: expected build-id "
        + "\(setup.program.buildID), found \(other.buildID)")
  }

  @Test(".gnu_debugdata: compressed symbols in the program itself")
  func miniDebugInfo() throws {
    let setup = try Setup()
    try setup.program.addDebugData(setup.program.miniDebugInfo())
    try expectNames(setup, from: ".gnu_debugdata")
  }

  @Test("a .gnu_debugdata that is damaged, too large or cannot be decoded is one line each")
  func damagedData() throws {
    var setup = try Setup()
    let whole = try setup.program.miniDebugInfo()
    try setup.program.addDebugData(whole)
    setup.debugFiles.decoder = "libno-such-thing.so.5"
    #expect(
      try setup.refusal()
        == "no names from .gnu_debugdata of \(setup.program.path): libno-such-thing.so.5 is missing: "
        + "install liblzma5 (xz-libs)")
    #expect(try setup.table().nameOrigin.refusals.map(\.isPassing) == [true])
    setup.debugFiles = DebugFiles(root: setup.root, mostDecompressed: 1000)
    #expect(try setup.refusal().hasSuffix(": it needs more than 1000 bytes of memory"))
    #expect(try setup.names().isEmpty)
    for (data, expected) in [
      (whole.prefix(whole.count / 2), "it is no whole xz stream"),
      (Data("no xz".utf8), "it is no whole xz stream"), (Data(), "it is no whole xz stream"),
    ] {
      let damaged = try Setup()
      try damaged.program.addDebugData(data)
      #expect(try damaged.refusal().hasSuffix(expected))
      #expect(try damaged.names().isEmpty)
      #expect(try damaged.table().nameOrigin.refusals.map(\.isPassing) == [false])
    }
  }

  @Test("program headers that lead beyond the debug file do not matter: elfutils leaves them")
  func headersBeyondTheEnd() throws {
    let setup = try Setup()
    let file = setup.program.buildIDPath(below: setup.root)
    try setup.program.makeDebugFile(file)
    var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file)))
    let headers = try ELFImage(path: file).header
    for index in 0..<Int(headers.programHeaderCount) {
      let size = Int(headers.programHeaderOffset) + 56 * index + 32
      bytes[size + 4] = 1  // p_filesz: 4 GiB more, and p_memsz
      bytes[size + 12] = 1
    }
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    #expect(throws: ELFError.self) { try ELFImage(path: file) }
    try expectNames(setup, from: file)
  }

  @Test("a damaged debug file is a line or is not noticed, and never more")
  func damagedDebugFile() throws {
    let setup = try Setup()
    let file = setup.program.buildIDPath(below: setup.root)
    try setup.program.makeDebugFile(file)
    let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file)))
    let headers = Int(try ELFImage(path: file).header.sectionHeaderOffset)
    var generator = SeededGenerator(seed: UInt64.random(in: 0...UInt64.max))
    print("damaged debug file: seed \(generator.seed)")
    for _ in 0..<200 {
      var damaged = whole
      for _ in 0..<4 {
        let place = Bool.random(using: &generator) ? 0..<64 : headers..<whole.count
        damaged[Int.random(in: place, using: &generator)] = .random(in: 0...255, using: &generator)
      }
      try Data(damaged).write(to: URL(fileURLWithPath: file))
      let table = try setup.table()
      for site in table.sites { _ = table.functionName(of: site) }
      #expect(!table.nameOrigin.refusals.contains { "\($0)".contains("\n") })
    }
    for contents in [Data(), Data("text".utf8), Data(whole.prefix(headers))] {
      try contents.write(to: URL(fileURLWithPath: file))
      #expect(try setup.refusal().hasPrefix("no names from it: \(file): "))
    }
  }

  @Test("what is no regular file is refused, and nothing waits for it")
  func noFile() throws {
    let setup = try Setup()
    let file = setup.program.folder + "/p.debug"
    try setup.program.makeDebugFile(file)
    try setup.program.addLink(to: file)
    try FileManager.default.removeItem(atPath: file)
    #expect(mkfifo(file, 0o600) == 0)
    #expect(try setup.refusal().contains("expected a regular file, found a pipe"))
  }

  @Test("a debug file without symbols is refused")
  func noSymbols() throws {
    let setup = try Setup()
    let file = setup.program.buildIDPath(below: setup.root)
    try setup.program.makeDebugFile(file)
    try Tools.run("strip", ["-s", file])
    #expect(try setup.refusal() == "no names from \(file): it has no symbol table")
  }
}
