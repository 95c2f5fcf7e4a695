// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

/// What happens when the reader of the output goes away: `nopscope … | head`.
@Suite struct BrokenPipeTests {
  /// Long enough that no pipe holds what a command writes of it.
  private func recording() throws -> String {
    let base: UInt64 = 1_000_000
    let names = (0..<4000).map { "function_with_a_long_name_that_fills_a_pipe_\($0)" }
    let chunk = SyntheticChunk { encoder in
      for index in 0..<4000 {
        let start = base + 100 * UInt64(index)
        encoder.call(UInt32(index), from: start, to: start + 50)
      }
    }
    let module = SyntheticModule("/bin/x", functions: names)
    return try SyntheticRecording(
      processes: [SyntheticProcess(modules: [module], chunks: [chunk])]
    ).write()
  }

  @Test(
    "every command ends by SIGPIPE, and says nothing",
    arguments: [
      "report", "report --csv", "report --json", "replay", "replay --ftrace", "graph",
      "graph --json",
      "export --format folded", "export --format chrome", "export --format speedscope",
      "export --format perfetto", "export --format flamegraph",
    ])
  func ends(command: String) throws {
    let line = "\(Tools.nopscope) \(command) \(try recording()) | true; exit ${PIPESTATUS[0]}"
    let result = try runChild("/bin/bash", ["-c", line])
    #expect(result.ending == .exit(141), "\(result.standardError)")
    #expect(!result.standardError.contains("cannot write"))
  }
}
