// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingReader
import TestSupport
import Testing
import TraceExport

/// What an export leaves behind, and what it refuses.
@Suite struct DestinationTests {
  private struct GivenUp: Error {}

  private func names(_ folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
  }

  private func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "no error"
    } catch {
      return "\(error)"
    }
  }

  @Test(
    "given up half-way, nothing is left, and what was there stays", arguments: ExportFormat.allCases
  )
  func givenUp(format: ExportFormat) throws {
    let folder = try TemporaryFolder.shared.fresh("destination")
    let path = folder + "/out"
    if !format.isFolder { try Data("before".utf8).write(to: URL(fileURLWithPath: path)) }
    let before = try names(folder)
    let exporter = Exporter(try ExportRecordings.random(seed: 1), as: format)
    var chunks = 0
    #expect(throws: GivenUp.self) {
      _ = try exporter.export(to: .path(path)) { _ in
        chunks += 1
        if chunks == 3 { throw GivenUp() }
      }
    }
    #expect(try names(folder) == before)
    if !format.isFolder { #expect(try String(contentsOfFile: path, encoding: .utf8) == "before") }
  }

  @Test("a file that is there is replaced, through links, with its mode")
  func replaced() throws {
    let folder = try TemporaryFolder.shared.fresh("destination")
    try Data("before".utf8).write(to: URL(fileURLWithPath: folder + "/file"))
    chmod(folder + "/file", 0o640)
    symlink("file", folder + "/link")
    _ = try Exporter(try ExportRecordings.unusual(), as: .folded).export(
      to: .path(folder + "/link"))
    #expect(try names(folder) == ["file", "link"])
    #expect(try String(contentsOfFile: folder + "/file", encoding: .utf8).hasPrefix("main"))
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder + "/link") == "file")
    let mode = try FileManager.default.attributesOfItem(atPath: folder + "/file")[.posixPermissions]
    #expect(mode as? Int == 0o640)
  }

  @Test("a device is written to and stays one; a full one is one clear error")
  func devices() throws {
    let recording = try ExportRecordings.random(seed: 1)
    _ = try Exporter(recording, as: .chrome).export(to: .path("/dev/null"))
    var status = stat()
    #expect(stat("/dev/null", &status) == 0 && status.st_mode & S_IFMT == S_IFCHR)
    let text = message { _ = try Exporter(recording, as: .chrome).export(to: .path("/dev/full")) }
    #expect(text == "/dev/full: cannot write: No space left on device")
  }

  @Test("what cannot be a destination is refused in one line")
  func refused() throws {
    let recording = try ExportRecordings.unusual()
    let folder = try TemporaryFolder.shared.fresh("destination")
    func refusal(_ format: ExportFormat, _ path: String) -> String {
      message { _ = try Exporter(recording, as: format).export(to: .path(path)) }
    }
    #expect(
      refusal(.chrome, folder)
        == "\(folder): expected a file to write, found a directory: name a file in it")
    #expect(
      refusal(.chrome, folder + "/none/x")
        == "\(folder)/none/x: cannot create: No such file or directory")
    #expect(
      refusal(.uftrace, folder + "/none/x")
        == "\(folder)/none/x: cannot create: No such file or directory")
    try Data().write(to: URL(fileURLWithPath: folder + "/file"))
    let taken = "exists already, and is not an empty directory: remove it or choose another with -o"
    #expect(refusal(.uftrace, folder) == "\(folder): \(taken)")
    #expect(refusal(.uftrace, folder + "/file") == "\(folder)/file: \(taken)")
    #expect(
      message { _ = try Exporter(recording, as: .uftrace).export(to: .standardOutput) }
        == "uftrace: writes a directory of files, which cannot go into a pipe: name it with -o DIR")
  }

  @Test("an empty directory is taken for uftrace")
  func emptyFolder() throws {
    let folder = try TemporaryFolder.shared.fresh("destination")
    _ = try Exporter(try ExportRecordings.unusual(), as: .uftrace).export(to: .path(folder))
    #expect(try names(folder).contains("info"))
  }

  static let withoutEvents: [(String, ExportFormat, String)] = [
    (
      "callgraph", .perfetto,
      "perfetto needs every call with its time, found a recording of the tracer callgraph, which "
        + "keeps none: record with --tracer function_graph, or export it as folded"
    ),
    (
      "profile", .uftrace,
      "uftrace needs every call with its time, found a recording of the tracer profile, which "
        + "keeps none: record with --tracer function_graph"
    ),
    (
      "hits", .folded,
      "folded needs call stacks, found a recording of the tracer hits, which keeps none: record "
        + "with --tracer callgraph or function_graph"
    ),
  ]

  @Test(
    "a tracer without what the format needs is named, with the one that has it",
    arguments: withoutEvents)
  func tracers(tracer: String, format: ExportFormat, expected: String) throws {
    let recording = try ExportRecordings.of(tracer: tracer)
    let path = try TemporaryFolder.shared.fresh("destination") + "/out"
    let text = message { _ = try Exporter(recording, as: format).export(to: .path(path)) }
    #expect(text == "\(recording.directory): \(expected)")
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test("a recording in which nothing was called is said to be one")
  func nothing() throws {
    let recording = try ExportRecordings.open([SyntheticProcess()])
    let text = message { _ = try export(recording, as: .perfetto) }
    #expect(
      text.hasSuffix(
        "no call in it: nothing to export; nopscope info "
          + "\(recording.directory) tells more"))
  }
}
