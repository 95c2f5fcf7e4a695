// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TestSupport
import Testing

@testable import TraceAnalysis

/// Calls of several stacks in one thread. One unit is one nanosecond.
@Suite struct StackSwitchTests {
  private let base = ReportTests.base

  /// Function: calls, total, self.
  private func rows(_ chunks: [SyntheticChunk]) throws -> [String: [Int]] {
    let report = Report(of: try ReportTests.recording(chunks))
    #expect(report.problems == [])
    return Dictionary(
      uniqueKeysWithValues: report.rows.map { row in
        (row.label, [Int(row.calls)] + (row.times.map { [$0.total, $0.selfTime] } ?? []))
      })
  }

  @Test("a call lasts until it ends; its own time is what no other call has")
  func ownTime() throws {
    let rows = try rows([
      SyntheticChunk { encoder in
        encoder.entry(0, at: base)
        encoder.entry(1, at: base + 10)
        encoder.switched(to: 1, at: base + 20)
        encoder.entry(2, at: base + 20)
        encoder.call(3, from: base + 30, to: base + 35)
        encoder.switched(to: 0, at: base + 50)
        encoder.exit(at: base + 50)
        encoder.entry(1, at: base + 60)
        encoder.switched(to: 1, at: base + 75)
        encoder.exit(at: base + 80)
        encoder.switched(to: 0, at: base + 80)
        encoder.exit(at: base + 90)
        encoder.exit(at: base + 100)
      }
    ])
    #expect(
      rows == [
        "main": [1, 100, 30], "f": [2, 70, 35], "g": [1, 60, 30], "leaf": [1, 5, 5],
      ])
    // Nothing is counted twice.
    #expect(rows.values.reduce(0) { $0 + $1[2] } == 100)
  }

  @Test("a function that is open on two stacks is not inside itself")
  func twoStacks() throws {
    let rows = try rows([
      SyntheticChunk { encoder in
        encoder.switched(to: 1, at: base)
        encoder.entry(2, at: base)
        encoder.switched(to: 2, at: base + 10)
        encoder.entry(2, at: base + 10)
        encoder.entry(2, at: base + 15)
        encoder.switched(to: 1, at: base + 20)
        encoder.exit(at: base + 30)
        encoder.switched(to: 2, at: base + 30)
        encoder.exit(at: base + 40)
        encoder.exit(at: base + 50)
      }
    ])
    // 30 on the first; 40 on the second, where the inner call is not counted again.
    #expect(rows == ["g": [3, 70, 50]])
  }

  @Test("frames that turn out to be another stack's: their caller waited until then, and no longer")
  func split() throws {
    let rows = try rows([
      SyntheticChunk { encoder in
        encoder.entry(0, at: base)
        encoder.entry(1, at: base + 10)
        encoder.entry(3, at: base + 20)
        encoder.split(2, to: 7, at: base + 30)
        encoder.call(2, from: base + 40, to: base + 60)
        encoder.switched(to: 7, at: base + 70)
        encoder.exit(at: base + 75)
        encoder.exit(at: base + 80)
        encoder.switched(to: 0, at: base + 80)
        encoder.exit(at: base + 100)
      }
    ])
    #expect(
      rows == [
        "main": [1, 100, 10 + 20 + 20], "f": [1, 70, 10 + 5], "leaf": [1, 55, 10 + 5],
        "g": [1, 20, 20],
      ])
    #expect(rows.values.reduce(0) { $0 + $1[2] } == 100)
  }

  @Test("behind a gap the chunk says what is open on which stack; what was open before is cut off")
  func gap() throws {
    let report = Report(
      of: try ReportTests.recording([
        SyntheticChunk { encoder in
          encoder.entry(0, at: base)
          encoder.switched(to: 1, at: base + 10)
          encoder.entry(1, at: base + 20)
        },
        SyntheticChunk(sequence: 2, open: [.max, 1, 1, 2]) { encoder in
          encoder.exit(at: base + 30)
          encoder.switched(to: 0, at: base + 40, listing: [0, 3])
          encoder.exit(at: base + 50)
          encoder.switched(to: 1, at: base + 60)
          encoder.exit(at: base + 70)
          encoder.switched(to: 0, at: base + 80)
          encoder.exit(at: base + 90)
        },
      ]))
    #expect(report.unmatchedExits == 0)
    #expect(report.cutOff == 2)
    #expect(report.calls == 2)
  }

  @Test("numbers that no agent writes are an exit without a call at most")
  func hostile() throws {
    let report = Report(
      of: try ReportTests.recording([
        SyntheticChunk { encoder in
          encoder.entry(0, at: base)
          encoder.split(0xff_ffff, to: 0, at: base + 1)
          encoder.split(9, to: 5, at: base + 2)
          encoder.split(9, to: 5, at: base + 2)
          encoder.switched(to: 5, at: base + 3, listing: [1, 2, 3])
          encoder.switched(to: 5, at: base + 4, listing: [1, 2, 3])
          encoder.exit(at: base + 5)
          encoder.exit(at: base + 6)
          encoder.switched(to: .max, at: base + 7)
          encoder.exit(at: base + 8)
        }
      ]))
    #expect(report.calls == 1)
    #expect(report.unmatchedExits == 2)
  }

  @Test("a list of functions that ends behind its chunk is an event that is cut off")
  func cutList() throws {
    let report = Report(
      of: try ReportTests.recording([
        SyntheticChunk { encoder in
          encoder.call(1, from: base, to: base + 1)
          encoder.raw([0x70, 200, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0])
        }
      ]))
    #expect(report.problems.count == 1)
    #expect(report.problems.first?.hasSuffix("the last event is cut off") == true)
  }
}
