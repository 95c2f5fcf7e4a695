// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CSourceLines
import ELFImage
import Foundation
import RecordingSchema
import TestSupport
import Testing

@testable import Recorder

/// The reading of DWARF, and its bounds.
@Suite struct SourceLineSaverTests {
  static let program = Fixture(.gcc, ["-O1", "-pg", "-g"])

  /// Asks for the lines of addresses.
  private func read(
    _ path: String, _ addresses: [UInt64], library: String = "libdw.so.1",
    nanoseconds: UInt64 = 20_000_000_000
  ) -> (result: nsl_result, lines: [UInt32], failures: UInt32) {
    var answer = nsl_answer()
    defer { nsl_free(&answer) }
    let result = path.withCString { path in
      addresses.withUnsafeBufferPointer { addresses in
        var module = nsl_module(
          path: path, addresses: addresses.baseAddress, count: UInt32(addresses.count))
        return nsl_read(library, &module, 1, nanoseconds, &answer)
      }
    }
    let lines = UnsafeBufferPointer(start: answer.lines, count: addresses.count).map(\.line)
    return (result, lines, answer.failures)
  }

  private func functions(_ path: String) throws -> [UInt64] {
    try Tools.run("nm", [path]).split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ")
      return words.count == 3 && FixtureSource.instrumented.contains(String(words[2]))
        ? UInt64(words[0], radix: 16) : nil
    }.sorted()
  }

  @Test("addr2line finds the same lines, or the line of the brace")
  func equalsAddr2line() throws {
    let path = try Self.program.build()
    let addresses = try functions(path)
    let found = read(path, addresses)
    #expect(found.result == NSL_DONE && found.failures == 0)
    let text = try Tools.run(
      "addr2line", ["-e", path] + addresses.map { String($0, radix: 16) })
    let expected = text.split(separator: "\n").map { line in
      UInt32(line.split(separator: ":").last?.prefix { $0.isNumber } ?? "") ?? 0
    }
    #expect(found.lines == expected)
  }

  @Test("without libdw, or without time, there are no lines and no error")
  func bounds() throws {
    let path = try Self.program.build()
    let addresses = try functions(path)
    #expect(read(path, addresses, library: "libno-such-thing.so.1").result == NSL_NO_LIBRARY)
    let late = read(path, addresses, nanoseconds: 0)
    #expect(late.result == NSL_NO_TIME && late.failures == 0)
  }

  @Test("what is no ELF file, or no file, has no lines")
  func noFile() throws {
    for path in ["/etc/passwd", "/nowhere", "/dev/zero", "/tmp"] {
      let found = read(path, [0x1000])
      #expect(found.result == NSL_DONE && found.lines == [0] && found.failures == 0)
    }
  }

  @Test("a reader that crashes costs its module's lines")
  func crash() throws {
    // The library's constructor is the crash.
    let library = try Fixture(
      .gcc, ["-O1"],
      source: "__attribute__((constructor)) static void crash(void) { __builtin_trap(); }"
    ).build()
    let found = read(try Self.program.build(), [0x1000, 0x2000], library: library)
    #expect(found.result == NSL_DONE && found.failures == 1 && found.lines == [0, 0])
  }

  /// A recording in which the functions of the fixture have these calls, and what is loaded in it.
  private func recording(
    _ path: String, calls: [UInt64]
  ) throws -> (folder: RecordingFolder, loaded: LoadedFunctions, lines: String) {
    let folder = try RecordingFolder(path: try TemporaryFolder.shared.fresh("saver") + "/data")
    let addresses = try functions(path)
    let symbols = addresses.map { String($0 + 4, radix: 16) + "\t0\tname\n" }.joined()
    _ = try folder.saveSymbols("ab", Array("nopscope.symbols 1 11 /x\n\(symbols)".utf8))
    let id = try #require(try ELFImage(path: path).buildID)
    var module = TracedModule(
      message: AgentMessage.Module(
        generation: 1, loadBias: .zero, textStart: .zero, textEnd: .zero, time: .zero, buildID: id,
        path: path), firstFunction: 100)
    module.symbolsName = "ab"
    module.sites = addresses.count
    module.armed = addresses.count
    var loaded = LoadedFunctions()
    loaded.add(module, of: ImageName(pid: 7, incarnation: 0))
    let hits = SyntheticChunk(hits: Array(repeating: 0, count: 100) + calls)
    let file = SyntheticProcess(modules: [], chunks: [hits, hits]).eventFile(tracer: 5)
    try file.write(to: URL(fileURLWithPath: folder.path + "/7-0.events"))
    return (folder, loaded, folder.path + "/symbols/ab.lines")
  }

  private func entries(_ path: String) -> [Substring]? {
    (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n")
  }

  @Test("what was called is saved; without time to look, all is")
  func called() throws {
    let path = try Self.program.build()
    let (folder, loaded, lines) = try recording(path, calls: [0, 3, 0, 1])
    var saver = SourceLineSaver(debugFiles: DebugFiles(root: "/nowhere"))
    saver.lineNanoseconds = 20_000_000_000
    saver.callNanoseconds = 20_000_000_000
    #expect(saver.save(loaded, in: folder, started: 0) == [])
    let some = try #require(entries(lines))
    #expect(some[0] == "nopscope.lines 1 2 1" && some[1].hasSuffix("/a.c"))
    #expect(some.dropFirst(2).map { $0.prefix(2) } == ["1\t", "3\t"])
    saver.callNanoseconds = 0
    #expect(saver.save(loaded, in: folder, started: 0) == [])
    #expect(entries(lines)?.first == "nopscope.lines 1 \(FixtureSource.instrumented.count) 1")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/symbols")
    #expect(names.sorted() == ["ab", "ab.lines"])
  }

  @Test("what is missing is said in one line, and nothing is written")
  func notes() throws {
    let path = try Self.program.build()
    let (folder, loaded, lines) = try recording(path, calls: [1])
    var saver = SourceLineSaver(debugFiles: DebugFiles(root: "/nowhere"))
    saver.library = "libno-such-thing.so.1"
    #expect(
      saver.save(loaded, in: folder, started: 0) == [
        "no source lines: libno-such-thing.so.1 is missing: install libdw1"
      ])
    saver.library = "libdw.so.1"
    saver.lineNanoseconds = 0
    #expect(
      saver.save(loaded, in: folder, started: 0) == [
        "source lines of some functions are missing: reading DWARF took more than 0.0 s and was "
          + "stopped"
      ])
    #expect(entries(lines) == nil)
    // Nothing was called: nothing is looked for.
    let (other, nothing, _) = try recording(path, calls: [])
    saver.library = "libno-such-thing.so.1"
    #expect(saver.save(nothing, in: other, started: 0) == [])
  }

  @Test("paths lose what says nothing")
  func paths() {
    #expect(SourceLineSaver.tidy("/a/./b//c.c") == "/a/b/c.c")
    #expect(SourceLineSaver.tidy("./c.c") == "./c.c")
    #expect(SourceLineSaver.tidy("/a/../c.c") == "/a/../c.c")
  }

  @Test("the file with the DWARF is the module's own or its debug file, and no other build's")
  func lineFile() throws {
    let stripped = try StrippedProgram(flags: ["-O2", "-pg", "-g"])
    let root = try TemporaryFolder.shared.fresh("root")
    let files = DebugFiles(root: root)
    let id = try #require(try ELFImage(path: stripped.whole).buildID)
    #expect(files.lineFile(path: stripped.whole, buildID: id) == stripped.whole)
    #expect(files.lineFile(path: stripped.whole, buildID: [1, 2]) == nil)
    #expect(files.lineFile(path: stripped.path, buildID: id) == nil)
    let place = stripped.buildIDPath(below: root)
    try stripped.makeDebugFile(place)
    #expect(files.lineFile(path: stripped.path, buildID: id) == place)
    try FileManager.default.removeItem(atPath: place)
    let linked = stripped.folder + "/p.debug"
    try stripped.makeDebugFile(linked)
    try stripped.addLink(to: linked)
    #expect(files.lineFile(path: stripped.path, buildID: id) == linked)
    let other = try StrippedProgram(flags: ["-O1", "-pg", "-g"])
    try other.makeDebugFile(linked)
    #expect(files.lineFile(path: stripped.path, buildID: id) == nil)
  }
}
