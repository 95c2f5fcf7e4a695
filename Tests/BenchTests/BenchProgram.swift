// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

/// The `nopscope-bench` that was just built, run with `arguments`.
func runBench(_ arguments: [String], timeoutSeconds: Double = 60) throws -> ChildResult {
  try runChild(
    Tools.productFolder + "/nopscope-bench", arguments, timeoutSeconds: timeoutSeconds)
}

@Suite struct BenchProgramTests {
  @Test("nopscope itself has no such command: a first word that is none is a program to record")
  func productHasNoBench() throws {
    let result = try runNopscope(["bench"])
    #expect(result.ending == .exit(127))
    #expect(result.standardError.contains("bench"))
    #expect(try !runNopscope(["--help"]).output.contains("bench"))
  }

  @Test("a command line that means nothing is refused", arguments: [["fly"], ["--fly"]])
  func refused(words: [String]) throws {
    #expect(try runBench(words).ending == .exit(64))
  }
}
