// SPDX-License-Identifier: Apache-2.0

import ELFImage
import Foundation
import TestSupport
import Testing

@testable import Recorder

/// What is kept of a stripped file's names, and how long.
@Suite struct StrippedNamesTests {
  /// A stripped program that names `debugFile`, which is not there, and a cache.
  private struct Setup {
    let program: StrippedProgram
    let cache: SiteCache
    let root: String
    let debugFile: String

    init() throws {
      program = try StrippedProgram()
      let folder = try TemporaryFolder.shared.fresh("names")
      cache = SiteCache(path: folder + "/cache")
      root = folder + "/debug"
      debugFile = program.folder + "/p.debug"
      try program.makeDebugFile(debugFile)
      try program.addLink(to: debugFile)
      try FileManager.default.removeItem(atPath: debugFile)
    }

    func source(decoder: String = "liblzma.so.5") -> SiteSource {
      SiteSource(cache: cache, debugFiles: DebugFiles(root: root, decoder: decoder))
    }

    /// What a new run of the recorder finds, and whether the cache had it.
    func look(
      _ path: String? = nil, decoder: String = "liblzma.so.5"
    ) throws -> (sites: FileSites, wasKept: Bool) {
      let source = source(decoder: decoder)
      let sites = try look(source, path)
      let wasKept = source.isUnprepared
      source.keep()
      return (sites, wasKept)
    }

    func look(_ source: SiteSource, _ path: String? = nil) throws -> FileSites {
      let id = try #require(try ELFImage(path: program.path).buildID)
      guard case .sites(let sites) = source.sites(path: path ?? program.path, buildID: id) else {
        throw TestSupportError("the program was refused")
      }
      return sites
    }
  }

  private func names(_ sites: FileSites) -> Set<String> {
    Set(sites.entries.map { sites.name(at: $0.function) }).subtracting([""])
  }

  @Test("the cache answers as long as no debug file comes, goes or changes")
  func cache() throws {
    let setup = try Setup()
    var (sites, wasKept) = try setup.look()
    #expect(names(sites).isEmpty && !wasKept)
    #expect(sites.entries.count == FixtureSource.instrumented.count)
    (sites, wasKept) = try setup.look()
    #expect(names(sites).isEmpty && wasKept)
    // It comes.
    try setup.program.makeDebugFile(setup.debugFile)
    (sites, wasKept) = try setup.look()
    #expect(names(sites) == FixtureSource.instrumented && !wasKept)
    (sites, wasKept) = try setup.look()
    #expect(names(sites) == FixtureSource.instrumented && wasKept)
    #expect(sites.outsideNames?.problems == [])
    // It is damaged, and that is kept too.
    let whole = try Data(contentsOf: URL(fileURLWithPath: setup.debugFile))
    try (whole + Data([0])).write(to: URL(fileURLWithPath: setup.debugFile))
    for isSecond in [false, true] {
      (sites, wasKept) = try setup.look()
      #expect(names(sites).isEmpty && wasKept == isSecond)
      let problem = try #require(sites.outsideNames?.problems.first)
      #expect(problem.hasPrefix("no names from \(setup.debugFile): it is not the file"))
    }
    // It goes.
    try FileManager.default.removeItem(atPath: setup.debugFile)
    (sites, wasKept) = try setup.look()
    #expect(names(sites).isEmpty && !wasKept)
    #expect(sites.outsideNames?.problems == [])
  }

  @Test("every place is watched, the distribution's too")
  func places() throws {
    for isByBuildID in [true, false] {
      let setup = try Setup()
      _ = try setup.look()
      try setup.program.makeDebugFile(
        isByBuildID
          ? setup.program.buildIDPath(below: setup.root)
          : setup.root + setup.program.folder + "/p.debug")
      let (sites, wasKept) = try setup.look()
      #expect(names(sites) == FixtureSource.instrumented && !wasKept)
    }
  }

  @Test("one run of the recorder sees a debug file too that comes while it runs")
  func sameRun() throws {
    let setup = try Setup()
    let source = setup.source()
    #expect(names(try setup.look(source)).isEmpty)
    try setup.program.makeDebugFile(setup.debugFile)
    #expect(names(try setup.look(source)) == FixtureSource.instrumented)
  }

  @Test("a copy of the program elsewhere has no debug file beside it, and gets no such names")
  func copies() throws {
    let setup = try Setup()
    try setup.program.makeDebugFile(setup.debugFile)
    #expect(names(try setup.look().sites) == FixtureSource.instrumented)
    let copy = try TemporaryFolder.shared.fresh("copy") + "/program"
    try Tools.run("cp", ["-p", setup.program.path, copy])
    let (sites, wasKept) = try setup.look(copy)
    #expect(names(sites).isEmpty && !wasKept)
  }

  @Test("names that only liblzma is missing for are not kept missing")
  func withoutDecoder() throws {
    let setup = try Setup()
    try setup.program.addDebugData(setup.program.miniDebugInfo())
    let (without, _) = try setup.look(decoder: "libno-such-thing.so.5")
    #expect(names(without).isEmpty)
    #expect(without.outsideNames?.problems.first?.contains("libno-such-thing.so.5") == true)
    var (sites, wasKept) = try setup.look()
    #expect(names(sites) == FixtureSource.instrumented && !wasKept)
    (sites, wasKept) = try setup.look()
    #expect(names(sites) == FixtureSource.instrumented && wasKept)
  }

  @Test("a file with symbols of its own depends on no other file")
  func ownSymbols() throws {
    let setup = try Setup()
    #expect(try setup.look(setup.source(), setup.program.whole).outsideNames == nil)
  }
}
