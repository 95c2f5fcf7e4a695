// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TestSupport
import Testing

/// What a reader makes of `symbols/NAME.lines`.
@Suite struct SourceLineFileTests {
  private func read(_ lines: String?) throws -> (sources: [String?], problems: [String]) {
    var module = SyntheticModule("/lib/one.so", buildID: "ab", functions: ["f", "g", "h"])
    module.rawLines = lines
    let path = try SyntheticRecording(processes: [SyntheticProcess(modules: [module])]).write()
    let recording = try Recording(directory: path)
    let process = try #require(recording.processes.first)
    let sources = (0..<3 as Range<UInt64>).map { process.function($0).source?.text }
    return (sources, recording.symbolProblems)
  }

  @Test("a function has the line of its call site; a recording without such a file has none")
  func whole() throws {
    let known = try read("nopscope.lines 1 2 2\n/a/b.c\nc d.h\n0\t1\t7\n2\t0\t4294967295\n")
    #expect(known.sources == ["c d.h:7", nil, "/a/b.c:4294967295"])
    #expect(known.problems == [])
    let none = try read(nil)
    #expect(none.sources == [nil, nil, nil] && none.problems == [])
  }

  static let damages: [(lines: String, sources: [String?], problem: String)] = [
    ("", [nil, nil, nil], "expected \"nopscope.lines 1 COUNT FILES\" in line 1: no source lines"),
    (
      "nopscope.lines 2 0 0\n", [nil, nil, nil],
      "expected \"nopscope.lines 1 COUNT FILES\" in line 1: no source lines"
    ),
    (
      "nopscope.lines 1 1 99999999\n", [nil, nil, nil],
      "expected \"nopscope.lines 1 COUNT FILES\" in line 1: no source lines"
    ),
    (
      "nopscope.lines 1 2 1\na.c\n0\t0\t5\n", ["a.c:5", nil, nil],
      "expected 2 source lines, found 1: truncated?"
    ),
    ("nopscope.lines 1 3 1\na.c\n0\t0\t5\n3\t0\t5\n1\t0\t5\n", ["a.c:5", nil, nil], ":4: "),
    ("nopscope.lines 1 3 1\na.c\n0\t0\t5\n1\t1\t5\n", ["a.c:5", nil, nil], ":4: "),
    ("nopscope.lines 1 1 1\na.c\n0\t0\t0\n", [nil, nil, nil], ":3: "),
    ("nopscope.lines 1 1 1\na.c\n0\t0\n", [nil, nil, nil], ":3: "),
    ("nopscope.lines 1 1 1\na.c\n-1\t0\t5\n", [nil, nil, nil], ":3: "),
    ("nopscope.lines 1 1 1\na.c\n0\t0\t99999999999\n", [nil, nil, nil], ":3: "),
    ("nopscope.lines 1 9999999999999999999999 0\n", [nil, nil, nil], "in line 1"),
  ]

  @Test("a damaged file is one problem, and what is before the damage counts", arguments: damages)
  func damage(lines: String, sources: [String?], problem: String) throws {
    let found = try read(lines)
    #expect(found.sources == sources)
    #expect(found.problems.count == 1)
    let line = found.problems.first ?? ""
    #expect(line.hasPrefix("symbols/ab.lines") && line.contains(problem), "\(line)")
  }
}
