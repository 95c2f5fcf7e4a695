// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingReader
import TestSupport
import Testing
import TraceExport

/// uftrace's data directory: its bytes, and what the real uftrace says of it.
@Suite struct UftraceTests {
  static let uftrace = Tools.find("uftrace")

  /// Calls by name, from `uftrace report`; its times are rounded to three digits after a unit.
  private func report(_ path: String) throws -> [String: (calls: Int, total: Double)] {
    let text = try Tools.run(
      try #require(Self.uftrace),
      [
        "report", "-d", path, "--no-pager", "--demangle=full",
      ])
    var rows: [String: (calls: Int, total: Double)] = [:]
    for line in text.split(separator: "\n").dropFirst(2) {
      // "1.752 us", twice, or blanks where a time is 0.
      let total = line.dropFirst(1).prefix(11).split(separator: " ")
      let rest = line.dropFirst(26).drop { $0 == " " }
      let words = rest.split(separator: " ", maxSplits: 1)
      let calls = try #require(Int(words[0]), "\(line)")
      let factors: [Substring: Double] = ["us": 1e3, "ms": 1e6, "s": 1e9]
      let factor = total.last.flatMap { factors[$0] } ?? 0
      let name = words[1].drop { $0 == " " }
      rows[String(name)] = (calls, (total.first.flatMap { Double($0) } ?? 0) * factor)
    }
    return rows
  }

  @Test(
    "uftrace report has report's calls and times",
    .enabled(if: UftraceTests.uftrace != nil, "uftrace is not installed"),
    arguments: [1, 2] as [UInt64])
  func equalsReport(seed: UInt64) throws {
    let recording = try ExportRecordings.random(seed: seed)
    let (path, _) = try export(recording, as: .uftrace)
    let rows = try report(path)
    for (name, expected) in reported(recording) {
      #expect(rows[name]?.calls == expected.calls, "\(name) in \(rows)")
    }
    #expect(rows.count == 8)
  }

  @Test(
    "uftrace replay shows names, nesting and durations",
    .enabled(if: UftraceTests.uftrace != nil, "uftrace is not installed"))
  func replay() throws {
    let (path, _) = try export(try ExportRecordings.unusual(), as: .uftrace)
    let text = try Tools.run(
      try #require(Self.uftrace),
      [
        "replay", "-d", path, "--no-pager", "-f", "duration",
      ])
    #expect(
      text == """
        # DURATION    FUNCTION
                    | main() {
                    |   parse() {
                    |     leaf();
                    |     next_token() {
                    |       next_token();
           0.010 us |     } /* next_token */
           0.040 us |   } /* parse */
                    |   parse() {
           0.005 us |     next_token();
           0.015 us |   } /* parse */
           0.075 us | } /* main */

        """)
  }

  @Test(
    "uftrace knows the processes, what they executed and how it ended",
    .enabled(if: UftraceTests.uftrace != nil, "uftrace is not installed"))
  func processes() throws {
    let (path, _) = try export(try ExportRecordings.processes(), as: .uftrace)
    let rows = try report(path)
    #expect(rows.mapValues(\.calls) == ["main": 3, "parse": 2, "next_token": 1])
    let text = try Tools.run(try #require(Self.uftrace), ["info", "-d", path, "--no-pager"])
    #expect(text.contains("number of tasks     : 2"))
    #expect(text.contains("exited with code: 0"))
    #expect(text.contains("./program argument"))
  }

  @Test("records are 16 bytes: time, kind, magic, depth, address")
  func records() throws {
    let (path, _) = try export(try ExportRecordings.unusual(), as: .uftrace)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path + "/4711.dat"))
    #expect(bytes.count == 16 * 14)
    func word(_ index: Int) -> UInt64 {
      bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self) }
    }
    // main, then parse at depth 1; the last is main's end.
    #expect(word(0) == 1_000_000 && word(1) == 0x1_0000_1000 << 16 | 5 << 3)
    #expect(word(2) == 1_000_010 && word(3) == 0x1_0000_1010 << 16 | 1 << 6 | 5 << 3)
    #expect(word(26) == 1_000_075 && word(27) == 0x1_0000_1000 << 16 | 5 << 3 | 1)
  }

  @Test("calls deeper than a record can say are left out and counted")
  func deep() throws {
    let (path, summary) = try export(try ExportRecordings.deep(1500), as: .uftrace)
    #expect(summary.leftOut == 1500 - 1024)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path + "/4711.dat"))
    #expect(bytes.count == 16 * 2 * 1024)
  }

  @Test("modules of one file name get symbol files of their own")
  func sameFileName() throws {
    let module = ExportRecordings.module("/a/lib.so")
    let other = SyntheticModule(
      "/b/lib.so", buildID: "aa", firstFunction: 8, functions: ["other"])
    let chunk = SyntheticChunk {
      $0.call(0, from: 1_000_001, to: 1_000_002)
      $0.call(8, from: 1_000_003, to: 1_000_004)
    }
    let (path, _) = try export(
      try ExportRecordings.open([SyntheticProcess(modules: [module, other], chunks: [chunk])]),
      as: .uftrace)
    let names = try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    #expect(names.filter { $0.hasSuffix(".sym") } == ["lib.so.sym", "lib.so~2.sym", "program.sym"])
    #expect(try String(contentsOfFile: path + "/lib.so~2.sym", encoding: .utf8).contains("T other"))
  }
}
