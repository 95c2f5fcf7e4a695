// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// "Never called", "not wanted" and "could not be armed", distinguished.
@Suite struct UncalledTests {
  private static let source = """
    __attribute__((noinline)) void called(void) { __asm__ volatile(""); }
    __attribute__((noinline)) void never(void) { __asm__ volatile(""); }
    __attribute__((noinline)) void unwanted(void) { __asm__ volatile(""); }
    int main(int c, char **v) { called(); if (c > 5) never(); unwanted(); return 0; }
    """

  private func recorded(_ options: [String]) throws -> String {
    let folder = try TemporaryFolder.shared.fresh("uncalled")
    let program = try Fixture(
      .gcc, ["-O1", "-pg"], as: .positionIndependentExecutable, source: Self.source
    ).build()
    let result = try runNopscope(
      ["record", "-o", folder + "/data"] + options + [program],
      environment: ["XDG_CACHE_HOME": folder])
    #expect(result.ending == .exit(0))
    return folder + "/data"
  }

  @Test(
    "report --uncalled lists what was armed and not called, whatever the tracer",
    arguments: ["function_graph", "function", "callgraph", "profile", "hits"])
  func list(tracer: String) throws {
    let data = try recorded(["--tracer", tracer, "--notrace", "unwanted"])
    let result = try runNopscope(["report", "--uncalled", data])
    #expect(result.output.split(separator: "\n").dropFirst().map { $0.suffix(7) } == ["  never"])
    #expect(
      result.standardError
        == "1 of 3 armed functions never called; 1 not wanted by the filter, "
        + "0 could not be armed; 0 events lost\n")
  }

  @Test("report --uncalled --json is the documented schema")
  func json() throws {
    let data = try recorded(["--notrace", "unwanted"])
    let document = try jsonObject(
      try runNopscope(["report", "--uncalled", "--json", data]).standardOutput)
    #expect(
      Set(document.keys) == [
        "schema", "functions", "armed", "uncalled", "unwanted", "notArmed", "unknown", "doubts",
        "lostEvents", "corrupted",
      ])
    #expect(document["schema"] as? String == "nopscope.uncalled/1")
    let functions = try #require(document["functions"] as? [[String: Any]])
    #expect(functions.map { $0["function"] as? String } == ["never"])
    #expect(
      functions.map { Set($0.keys) } == [["function", "module", "buildID", "address"]])
    #expect(document["armed"] as? Int == 3)
    #expect(document["unwanted"] as? Int == 1)
    #expect(document["doubts"] as? [String] == [])
  }

  @Test("info counts armed and not wanted, and says what was to be recorded")
  func info() throws {
    let data = try recorded(["--filter", "*e*", "--notrace", "unwanted", "--max-depth", "3"])
    let result = try runNopscope(["info", data])
    #expect(result.output.contains(": 4 sites, 2 armed, 2 not wanted, 0 skipped, generation 1"))
    #expect(result.output.contains("--filter '*e*' --notrace 'unwanted' --max-depth 3\n"))
    let uncalled = try runNopscope(["report", "--uncalled", data])
    #expect(uncalled.standardError.contains("calls deeper than 3 are not here: a function "))
  }

  @Test("what could not be armed is neither: its status says why")
  func notArmed() throws {
    var module = SyntheticModule("/bin/x", functions: ["one", "two", "three"])
    module.armed = 0
    module.status = "its text cannot be written: Permission denied"
    module.plan = "2au"
    let path = try SyntheticRecording(processes: [SyntheticProcess(modules: [module])]).write()
    let uncalled = try runNopscope(["report", "--uncalled", path])
    #expect(uncalled.output == "MODULE  FUNCTION\n")
    #expect(
      uncalled.standardError
        == "0 of 0 armed functions never called; 1 not wanted by the filter, "
        + "2 could not be armed (nopscope info says why); 0 events lost\n")
    let info = try runNopscope(["info", path])
    #expect(info.output.contains("3 sites, 0 armed, 1 not wanted, 2 not armed, 0 skipped"))
    #expect(info.output.contains("; its text cannot be written: Permission denied\n"))
  }

  @Test("an older recording says that it does not know")
  func older() throws {
    var module = SyntheticModule("/bin/x", functions: ["one", "two", "three"])
    module.armed = 1
    let path = try SyntheticRecording(processes: [SyntheticProcess(modules: [module])]).write()
    let uncalled = try runNopscope(["report", "--uncalled", path])
    #expect(uncalled.standardError.contains(", 3 unknown (an older recording); "))
  }

  @Test("what was skipped is kept with its reasons")
  func skipped() throws {
    let folder = try TemporaryFolder.shared.fresh("skipped")
    // An area of three bytes is too short for a call.
    let program = try Fixture(
      .gcc, ["-O1", "-fpatchable-function-entry=3"], as: .positionIndependentExecutable,
      source: Self.source
    ).build()
    let data = folder + "/data"
    for _ in 0..<2 {  // from the file, then from the cache
      _ = try runNopscope(
        ["record", "-o", data, program], environment: ["XDG_CACHE_HOME": folder])
      let info = try runNopscope(["info", data])
      #expect(
        info.output.contains(
          "4 skipped (4 patchable area of 3 bytes at the entry, shorter than 5 bytes)"))
    }
  }

  @Test("--uncalled has nothing to compare or sort")
  func usage() throws {
    for option in [["--sort", "self"], ["--diff", "other"]] {
      let result = try runNopscope(["report", "--uncalled"] + option)
      #expect(result.ending == .exit(64))
      #expect(result.standardError.contains("--uncalled cannot be used with --diff or --sort"))
    }
  }
}
