// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `nopscope-bench soak`, of which `scripts/soak` runs more.
@Suite struct SoakTests {
  private func count(_ what: String, _ output: String) -> Int {
    for line in output.split(separator: "\n") where line.hasSuffix("  \(what)") {
      return Int(line.filter { $0.isNumber }) ?? -1
    }
    return -1
  }

  @Test("Twenty seconds of everything at random, with a fixed seed")
  func soak() throws {
    let result = try runBench(
      ["soak", "--seconds", "20", "--seed", "20080910"], timeoutSeconds: 400)
    let output = result.output
    #expect(result.ending == .exit(0), "\(output)\(result.standardError)")
    #expect(output.hasPrefix("seed 20080910\n"))
    #expect(output.hasSuffix("nothing deviated\n"))
    for what in [
      "loads", "unloads", "loads under the static engine", "site flips", "forks",
      "SIGPROF in the middle of it", "calls with a checked result", "recorded runs",
    ] {
      #expect(count(what, output) > 0, "\(what)")
    }
    #expect(count("audits: bytes that differ in the end", output) == 0)
    #expect(count("audits: bytes compared", output) > 1_000_000)
  }

  @Test("A command line without a time, or with an impossible one, is refused")
  func wrongTimes() throws {
    for words in [[], ["0"], ["-1"], ["x"]] {
      let result = try runBench(["soak"] + words)
      #expect(result.ending == .exit(64), "\(words)")
    }
  }

  @Test("Without nopscope beside it, it says what is missing and does nothing")
  func nopscopeIsMissing() throws {
    let folder = try TemporaryFolder.shared.fresh("rig")
    try ProgramFile.copy(Tools.productFolder + "/nopscope-bench", to: folder + "/nopscope-bench")
    let result = try runChild(folder + "/nopscope-bench", ["soak", "--seconds", "1"])
    #expect(result.ending == .exit(1))
    #expect(result.standardError.hasPrefix("nopscope-bench: "))
    #expect(
      result.standardError.contains("/nopscope: not there: the soak records programs with it"))
  }
}
