// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// How fast recordings are read.
///
/// It prints times and asserts none. `scripts/bench` measures more, in a release build.
@Suite struct ReportBench {
  private static let calls = 200_000

  /// A tree of calls, 303 functions, in chunks as the agent writes them, of one thread.
  private static func recording() throws -> String {
    var generator = SeededGenerator(seed: 1)
    var chunks: [SyntheticChunk] = []
    var open: [UInt32] = []
    var time: UInt64 = 1_000_000
    var calls = 0
    while calls < Self.calls {
      chunks.append(
        SyntheticChunk(sequence: UInt32(chunks.count), baseTime: time, open: open) { encoder in
          while encoder.bytes.count < 65_000 && calls < Self.calls {
            time += 20 + generator.next() % 60
            let isCall = open.count < 3 || (open.count < 40 && generator.next() & 1 == 0)
            if isCall {
              open.append(UInt32(truncatingIfNeeded: generator.next() % 303))
              encoder.entry(open[open.count - 1], at: time)
              calls += 1
            } else {
              open.removeLast()
              encoder.exit(at: time)
            }
          }
        })
    }
    let module = SyntheticModule("/bin/x", functions: (0..<303).map { "f\($0)" })
    return try SyntheticRecording(
      processes: [SyntheticProcess(modules: [module], chunks: chunks)]
    ).write()
  }

  @Test("the time of a report and a replay of 200,000 calls")
  func manyCalls() throws {
    let path = try Self.recording()
    for command in ["report", "replay"] {
      let clock = ContinuousClock()
      var result: ChildResult?
      let time = try clock.measure {
        result = try runNopscope([command, path], timeoutSeconds: 300)
      }
      #expect(result?.ending == .exit(0))
      #expect(result?.standardError.hasSuffix("0 events lost\n") == true)
      print("bench: \(command) of \(Self.calls) calls: \(time)")
    }
  }
}
