// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingReader
import TestSupport
import Testing
import TraceAnalysis
import TraceExport

/// Folded stacks, as flamegraph.pl takes them.
@Suite struct FoldedTests {
  private func lines(_ recording: Recording, _ weight: FoldedWeight? = nil) throws -> [String] {
    let path = try export(recording, as: .folded, weight: weight).path
    return try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
  }

  /// By the last function of the stack.
  private func byLeaf(_ lines: [String]) throws -> [String: Int] {
    try lines.reduce(into: [:]) { totals, line in
      let space = try #require(line.lastIndex(of: " "))
      let leaf = line[..<space].split(separator: ";").last.map(String.init) ?? ""
      totals[leaf, default: 0] += try #require(Int(line[line.index(after: space)...]))
    }
  }

  @Test("self times and calls add up to report's", arguments: [1, 2] as [UInt64])
  func equalsReport(seed: UInt64) throws {
    let recording = try ExportRecordings.random(seed: seed)
    let rows = Report(of: recording).rows
    let times = Dictionary(uniqueKeysWithValues: rows.map { ($0.label, $0.times?.selfTime ?? 0) })
    #expect(try byLeaf(try lines(recording)) == times)
    let calls = Dictionary(uniqueKeysWithValues: rows.map { ($0.label, Int($0.calls)) })
    #expect(try byLeaf(try lines(recording, .calls)) == calls)
  }

  @Test("a line holds the whole chain of callers")
  func chains() throws {
    #expect(
      try lines(try ExportRecordings.unusual(), .calls) == [
        "main 1", "main;parse 2", "main;parse;next_token 2", "main;parse;next_token;next_token 1",
        "main;parse;leaf 1",
      ])
  }

  @Test("a call tree without times is folded by calls")
  func callTree() throws {
    let recording = try ExportRecordings.of(tracer: "callgraph")
    let expected = ["main 1", "main;parse 20", "main;parse;next_token 300", "main;next_token 4"]
    #expect(try lines(recording) == expected)
    #expect(try export(recording, as: .folded).summary.calls == 325)
  }

  @Test("a name cannot break a line or a stack")
  func separators() throws {
    let module = SyntheticModule("/bin/x", firstFunction: 0, functions: ["a;b\u{1}c d"])
    let chunk = SyntheticChunk { $0.call(0, from: 1_000_001, to: 1_000_009) }
    let recording = try ExportRecordings.open([SyntheticProcess(modules: [module], chunks: [chunk])]
    )
    #expect(try lines(recording) == ["a:b c d 8"])
  }

  @Test("deep recursion gives a line a level")
  func deep() throws {
    let folded = try lines(try ExportRecordings.deep(2000))
    #expect(folded.count == 2000)
    #expect(folded.last?.split(separator: ";").count == 2000)
  }
}
