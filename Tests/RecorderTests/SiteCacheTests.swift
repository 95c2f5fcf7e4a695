// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import Foundation
import RecordingSchema
import TestSupport
import Testing

@testable import Recorder

/// The cache between runs: what it keeps, and what it rejects.
@Suite struct SiteCacheTests {
  static let id: [UInt8] = [1, 2, 3, 0xab]
  static let name = "010203ab"

  /// A cache, and a file in the state that its one entry was made for.
  private struct Setup {
    let cache: SiteCache
    let file: String
    let state: SiteCache.FileState
    var entry: String { cache.path + "/" + SiteCacheTests.name }
    func lookUp() -> FileSites? { cache.sites(buildID: SiteCacheTests.id, file: state) }
  }

  private func sites() -> FileSites {
    var entry = nrec_plan_entry()
    entry.offset = 0x1139
    entry.length = 5
    entry.flags = 1
    entry.expected = (0xe8, 1, 2, 3, 4, 0)
    entry.function = 7
    return FileSites(
      entries: [entry], symbols: Array("1139\t1\tmain\n".utf8),
      skippedCounts: [SkippedReason(reason: "no call", count: 3)],
      hasTextRelocations: true,
      outsideNames: OutsideNames(link: "m.debug", state: 17, problems: ["no names from it", "nor"]))
  }

  private func makeSetup() throws -> Setup {
    let folder = try TemporaryFolder.shared.fresh("cache")
    let file = folder + "/file"
    try Data("x".utf8).write(to: URL(fileURLWithPath: file))
    let setup = Setup(
      cache: SiteCache(path: folder + "/a/nopscope"), file: file,
      state: try #require(SiteCache.FileState(path: file)))
    #expect(mkdir(folder + "/a", 0o755) == 0)
    #expect(setup.cache.keep(sites(), buildID: Self.id, file: setup.state))
    return setup
  }

  @Test("what was kept comes back, in a folder of mode 0700 and a file of mode 0600")
  func roundTrip() throws {
    let setup = try makeSetup()
    let found = try #require(setup.lookUp())
    #expect(found.symbols == sites().symbols)
    #expect(found.skippedCounts == [SkippedReason(reason: "no call", count: 3)])
    #expect(found.hasTextRelocations)
    #expect(found.outsideNames == sites().outsideNames)
    #expect(found.entries.count == 1)
    #expect(found.entries.first?.offset == 0x1139)
    #expect(found.entries.first?.expected.4 == 4)
    #expect(found.name(at: 7) == "main")
    for (path, mode) in [(setup.cache.path, 0o700), (setup.entry, 0o600)] {
      let attributes = try FileManager.default.attributesOfItem(atPath: path)
      #expect(attributes[.posixPermissions] as? Int == mode)
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: setup.cache.path)
    #expect(names == [Self.name], "nothing temporary is left")
  }

  @Test("another build-id, another size, another time is another file")
  func otherFile() throws {
    let setup = try makeSetup()
    #expect(setup.cache.sites(buildID: [1, 2, 3], file: setup.state) == nil)
    #expect(setup.cache.sites(buildID: [], file: setup.state) == nil)
    // An entry that was renamed to another build's name.
    try FileManager.default.moveItem(atPath: setup.entry, toPath: setup.cache.path + "/010203ac")
    #expect(setup.cache.sites(buildID: [1, 2, 3, 0xac], file: setup.state) == nil)
    #expect(setup.cache.keep(sites(), buildID: Self.id, file: setup.state))
    try Data("xy".utf8).write(to: URL(fileURLWithPath: setup.file))
    let longer = try #require(SiteCache.FileState(path: setup.file))
    #expect(setup.cache.sites(buildID: Self.id, file: longer) == nil)
    try Data("y".utf8).write(to: URL(fileURLWithPath: setup.file))
    var times = [timespec(tv_sec: 1, tv_nsec: 1), timespec(tv_sec: 1, tv_nsec: 1)]
    utimensat(AT_FDCWD, setup.file, &times, 0)
    let touched = try #require(SiteCache.FileState(path: setup.file))
    #expect(setup.cache.sites(buildID: Self.id, file: touched) == nil)
  }

  @Test("a damaged entry is none, wherever the damage is")
  func damage() throws {
    let setup = try makeSetup()
    let whole = try Data(contentsOf: URL(fileURLWithPath: setup.entry))
    func write(_ data: Data) throws {
      let file = try FileHandle(forWritingTo: URL(fileURLWithPath: setup.entry))
      try file.truncate(atOffset: 0)
      try file.write(contentsOf: data)
      try file.close()
    }
    for length in 0..<whole.count {
      try write(whole.prefix(length))
      #expect(setup.lookUp() == nil, "cut to \(length) bytes")
    }
    for index in whole.indices {
      var damaged = whole
      damaged[index] ^= 0x10
      try write(damaged)
      // Padding after the build-id counts too: the checksum covers it.
      #expect(setup.lookUp() == nil, "byte \(index)")
    }
    try write(whole + Data([0]))
    #expect(setup.lookUp() == nil)
    try write(whole)
    #expect(setup.lookUp() != nil)
  }

  @Test("a symbolic link is not followed, neither as the folder nor as an entry")
  func links() throws {
    let setup = try makeSetup()
    let real = setup.entry + ".real"
    try FileManager.default.moveItem(atPath: setup.entry, toPath: real)
    #expect(symlink(real, setup.entry) == 0)
    #expect(setup.lookUp() == nil)
    // Keeping replaces the link, not what it names.
    let before = try Data(contentsOf: URL(fileURLWithPath: real))
    #expect(setup.cache.keep(sites(), buildID: Self.id, file: setup.state))
    #expect(try Data(contentsOf: URL(fileURLWithPath: real)) == before)
    #expect(setup.lookUp() != nil)
    let moved = setup.cache.path + ".real"
    try FileManager.default.moveItem(atPath: setup.cache.path, toPath: moved)
    #expect(symlink(moved, setup.cache.path) == 0)
    #expect(setup.lookUp() == nil)
    #expect(!setup.cache.keep(sites(), buildID: Self.id, file: setup.state))
  }

  @Test(
    "what others may read or write is not ours",
    arguments: [(true, 0o770), (true, 0o705), (false, 0o620), (false, 0o602), (false, 0o644)])
  func modes(isFolder: Bool, mode: mode_t) throws {
    let setup = try makeSetup()
    #expect(chmod(isFolder ? setup.cache.path : setup.entry, mode) == 0)
    #expect(setup.lookUp() == nil)
  }

  @Test(
    "what belongs to another is not ours",
    .enabled(if: geteuid() == 0, "only root may give files away"), arguments: [true, false])
  func owner(isFolder: Bool) throws {
    let setup = try makeSetup()
    #expect(chown(isFolder ? setup.cache.path : setup.entry, 65534, 65534) == 0)
    #expect(setup.lookUp() == nil)
  }

  @Test("a folder that cannot be made is no cache, and no error")
  func unwritable() throws {
    let setup = try makeSetup()
    for path in ["/proc/nopscope", setup.file + "/nopscope"] {
      #expect(!SiteCache(path: path).keep(sites(), buildID: Self.id, file: setup.state))
      #expect(SiteCache(path: path).sites(buildID: Self.id, file: setup.state) == nil)
    }
  }

  @Test("the cache does not grow for ever")
  func pruning() throws {
    let setup = try makeSetup()
    for number in 0..<(SiteCache.longest + 20) {
      let id = [UInt8(number >> 8), UInt8(number & 255), 9]
      #expect(setup.cache.keep(sites(), buildID: id, file: setup.state))
    }
    setup.cache.prune()
    let names = try FileManager.default.contentsOfDirectory(atPath: setup.cache.path)
    #expect(names.count == SiteCache.longest)
  }

  @Test(
    "the folder is XDG's, by absolute paths only",
    arguments: [
      (["XDG_CACHE_HOME": "/c", "HOME": "/h"], "/c/nopscope"),
      (["XDG_CACHE_HOME": "rel", "HOME": "/h"], "/h/.cache/nopscope"),
      (["HOME": "/h"], "/h/.cache/nopscope"), (["HOME": "h"], nil), ([:], nil),
    ] as [([String: String], String?)])
  func standard(environment: [String: String], path: String?) {
    #expect(SiteCache.standard { environment[$0] }?.path == path)
  }
}
