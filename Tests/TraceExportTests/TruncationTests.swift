// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingReader
import TestSupport
import Testing
import TraceAnalysis
import TraceExport

/// A recording that the agent wrote, cut at every byte of every file, as a power cut may leave it:
/// all that reads recordings reads what is whole, and never finds more.
@Suite struct TruncationTests {
  static let fixture = Fixture(
    .gcc, ["-O1", "-pg"], as: .positionIndependentExecutable,
    source: """
      __attribute__((noinline)) int leaf(int a) { return a + 1; }
      __attribute__((noinline)) int branch(int a) { return leaf(a) + leaf(a + 1); }
      int main(void) {
        int sum = 0;
        for (int i = 0; i < 30; i++) sum += branch(i);
        return sum & 1;
      }
      """)

  /// What every reading command computes; its number of calls, or nil where it says why not.
  private static func read(_ path: String, isExported: Bool) throws -> UInt64? {
    let recording: Recording
    do {
      recording = try Recording(directory: path)
    } catch let error {
      #expect(error.description.hasPrefix(path) && !error.description.contains("\n"))
      return nil
    }
    let report = Report(of: recording)
    let tree = CallTree(of: recording)
    #expect(difference(from: report, to: report).count <= report.rows.count)
    let out = TextBuffer { _ in true }
    var problems = FunctionGraphText.write(recording, to: out)
    problems += FunctionText.write(recording, calls: report.calls, to: out)
    problems += recording.problems + report.problems + tree.problems + recording.symbolProblems
    #expect(problems.allSatisfy { !$0.contains("\n") })
    guard isExported else { return report.calls }
    for format in ExportFormat.allCases where format != .uftrace {
      do {
        _ = try Exporter(recording, as: format).export(to: .path("/dev/null"))
      } catch let error as ExportError {
        #expect(!error.description.contains("\n"))
      }
    }
    return report.calls
  }

  private static func files(of path: String) throws -> [String] {
    let names = try #require(FileManager.default.enumerator(atPath: path)).compactMap {
      $0 as? String
    }
    return names.filter { $0 != "symbols" }.sorted()
  }

  /// Lengths to cut a file to: all, or those at what is written and one in 64 of the padding.
  private static func cuts(of bytes: Data, all isEvery: Bool) -> [Int] {
    if isEvery { return Array(0..<bytes.count) }
    return bytes.indices.filter { place in
      let near = max(0, place - 16)..<min(bytes.count, place + 16)
      return place % 64 == 0 || bytes[near].contains { $0 != 0 }
    }
  }

  @Test(
    "every cut of every file is read as far as it goes",
    arguments: ["function_graph", "function", "callgraph"])
  func everyCut(tracer: String) throws {
    let program = try Self.fixture.build()
    let path = try TemporaryFolder.shared.fresh("cut") + "/data"
    let recorded = try runNopscope(["record", "--tracer", tracer, "-o", path, "--", program])
    #expect(recorded.ending == .exit(0))
    let whole = try #require(try Self.read(path, isExported: true))
    #expect(whole == 91)
    let files = try Self.files(of: path)
    #expect(files.count >= 4)
    for file in files {
      let name = "\(path)/\(file)"
      let bytes = try Data(contentsOf: URL(fileURLWithPath: name))
      var fewest = whole
      for length in Self.cuts(of: bytes, all: tracer == "function_graph").reversed() {
        truncate(name, off_t(length))
        // Exports read as the others do: one cut in 64.
        let isExported = length % 64 == 0
        let calls = try Self.read(path, isExported: isExported) ?? 0
        #expect(calls <= fewest, "\(file) cut to \(length) bytes")
        fewest = min(fewest, calls)
      }
      // Names and sessions may go: calls are counted by number all the same.
      #expect(fewest == (file.hasSuffix(".events") ? 0 : whole), "\(file)")
      try bytes.write(to: URL(fileURLWithPath: name))
    }
    #expect(try Self.read(path, isExported: false) == whole)
  }
}
