// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TestSupport
import Testing
import TraceAnalysis

/// How many calls a recording has, from a part of it.
@Suite struct CallCountTests {
  private func recording(chunks count: Int) throws -> Recording {
    let chunks = (0..<count).map { index in
      let base = 1_000_000 + 10_000 * UInt64(index)
      return SyntheticChunk(sequence: UInt32(index), baseTime: base) { encoder in
        for call in 0..<20 {
          let start = base + 100 * UInt64(call)
          encoder.call(0, from: start, to: start + 50)
        }
      }
    }
    let module = SyntheticModule("/bin/x", functions: ["main"])
    let path = try SyntheticRecording(
      processes: [SyntheticProcess(modules: [module], chunks: chunks)]
    ).write()
    return try Recording(directory: path)
  }

  @Test("a short recording is counted, of a long one every nth chunk", arguments: [1, 2, 7, 40])
  func counts(chunks: Int) throws {
    let opened = try recording(chunks: chunks)
    let whole = CallCount(of: opened)
    #expect(whole.calls == UInt64(20 * chunks))
    #expect(!whole.isEstimated)
    let part = CallCount(of: opened, most: 5)
    #expect(part.calls == UInt64(20 * chunks))
    #expect(part.isEstimated == (chunks > 5))
    #expect(part.problems.isEmpty)
    #expect(!part.isCorrupted)
  }
}
