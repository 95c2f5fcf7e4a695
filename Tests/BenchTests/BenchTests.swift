// SPDX-License-Identifier: Apache-2.0

import Foundation
import PatchBench
import TestSupport
import Testing

/// `nopscope-bench patch`: that it measures what it says, never how fast.
@Suite struct BenchTests {
  @Test("one short run has every result, and no call of a patched function went wrong")
  func shortRun() throws {
    let run = try runBench(
      ["patch", "--sites", "2000", "--rounds", "1", "--json"], timeoutSeconds: 300)
    #expect(run.ending == .exit(0), "\(run.standardError)")
    // Progress is for terminals only.
    #expect(run.standardError == "")
    let report = try jsonObject(run.standardOutput)
    #expect(report["schema"] as? String == "nopscope.bench/1")
    #expect(report["sites"] as? Int == 2000)
    #expect(report["kernelNanosecondsPerSite"] != nil, "null where it is not known, never absent")
    let table = try #require(report["tableBytesPerSite"] as? Int)
    #expect(table <= 48)
    let results = try #require(report["results"] as? [[String: Any]])
    let names = Set(results.compactMap { $0["name"] as? String })
    #expect(names == Set(BenchResult.Name.allCases.map(\.rawValue)))
    for result in results {
      #expect(result["sites"] as? Int == 2000)
      let time = try #require(result["nanosecondsPerSite"] as? Double)
      #expect(time > 0)
    }
    try checkThreads(results)
  }

  private func checkThreads(_ results: [[String: Any]]) throws {
    let transactions = results.filter { ($0["name"] as? String)?.hasPrefix("patch-") ?? false }
    #expect(Set(transactions.compactMap { $0["threads"] as? Int }) == [0, 2])
    for result in transactions {
      #expect(result["method"] as? String == "jumpGuard")
      #expect(try #require(result["ratio"] as? Double) > 0)
      guard result["threads"] as? Int == 2 else { continue }
      #expect(try #require(result["calls"] as? Int) >= 2 * 2000, "each thread called each function")
      #expect(result["wrongResults"] as? Int == 0)
    }
  }

  @Test(
    "a command line that means nothing is refused",
    arguments: [["--sites", "0"], ["--rounds", "0"], ["--call", "f"]])
  func refused(arguments: [String]) throws {
    #expect(try runBench(["patch"] + arguments).ending == .exit(64))
  }

  @Test("a library without call sites is one clear error")
  func noSites() throws {
    let run = try runBench(["patch", "--library", "/lib64/ld-linux-x86-64.so.2"])
    #expect(run.ending == .exit(1))
    #expect(run.output == "")
    #expect(run.standardError.contains("no call sites found"))
  }

  // MARK: - The kernel's figure

  @Test("the kernel's file gives its sites and the time they took")
  func kernelFigure() throws {
    let figure = try #require(
      KernelFigure(
        parsing: """
          48519 pages:192 groups: 2
          ftrace boot update time = 22228514 (ns)
          ftrace module total update time = 0 (ns)

          """))
    #expect(figure == KernelFigure(sites: 48519, nanoseconds: 22_228_514))
    #expect(Int(figure.nanosecondsPerSite) == 458)
  }

  @Test("modules' sites are in the count, so their time is in the sum")
  func kernelModules() throws {
    let text = """
      1000 pages:4 groups: 2
      ftrace boot update time = 300000 (ns)
      ftrace module total update time = 100000 (ns)
      """
    #expect(KernelFigure(parsing: text)?.nanosecondsPerSite == 400)
  }

  @Test(
    "a file without a time, or with another text, gives no figure",
    arguments: [
      "", "\n", "48519 pages:192 groups: 2\n",
      "0 pages:0 groups: 0\nftrace boot update time = 5 (ns)",
      "x pages:1\nftrace boot update time = 5 (ns)", "10 pages:1\nftrace boot update time = x (ns)",
      "10 pages:1 groups: 1\nftrace boot update time = 0 (ns)",
      "10 pages:1\nupdate time = 9223372036854775807 (ns)\nupdate time = 1 (ns)",
    ])
  func noKernelFigure(text: String) {
    #expect(KernelFigure(parsing: text) == nil)
  }
}
