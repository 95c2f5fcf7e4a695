// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// What the pager is told.
@Suite(.enabled(if: Tools.hasScript, "script (util-linux) is not here"))
struct PagerTests {
  /// A less of this version in a folder of its own: it writes its arguments and passes its input on.
  private func folder(_ version: String) throws -> String {
    let folder = try TemporaryFolder.shared.fresh("less")
    let script = """
      #!/bin/sh
      if [ "$1" = --version ]; then echo "\(version)"; exit; fi
      echo "arguments: [$*]"
      exec cat
      """
    for name in ["less", "more"] {
      try ProgramFile.write(script.utf8, to: "\(folder)/\(name)")
    }
    return folder
  }

  private func recording(isStuck: Bool = false) throws -> String {
    let chunk = SyntheticChunk { encoder in
      encoder.call(0, from: 1_000_001, to: 1_000_009)
      if isStuck { encoder.entry(0, at: 1_000_020) }
    }.of(thread: 4712, serial: 1, name: "worker")
    let process = SyntheticProcess(
      modules: [SyntheticModule("/bin/x", functions: ["main"])], chunks: [chunk])
    return try SyntheticRecording(processes: [process]).write()
  }

  private func arguments(
    _ command: String, _ version: String, pager: String? = nil
  ) throws -> String {
    let path = try folder(version) + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "")
    let result = try runNopscopeOnTerminal(command, environment: ["PATH": path, "PAGER": pager])
    #expect(result.ending == .exit(0))
    #expect(result.output.contains("main"))
    // A progress may have been shown before it, on the same line.
    let mark = "arguments: "
    for line in result.output.split(separator: "\n") {
      if let range = line.firstRange(of: mark) { return String(line[range.upperBound...]) }
    }
    return result.output.contains(mark) ? result.output : "none"
  }

  static let versions: [(String, String)] = [
    ("less 590 (GNU regular expressions)", "[]"),
    ("less 600 (GNU regular expressions)", "[--header=1]"),
    ("less 643.2 (PCRE2)", "[--header=1]"), ("BusyBox v1.35.0", "[]"), ("less", "[]"), ("", "[]"),
  ]

  @Test("a less that can keeps a table's heading at the top", arguments: versions)
  func header(version: String, expected: String) throws {
    let path = try recording()
    for command in ["report", "graph", "replay"] {
      let found = try arguments("\(command) \(path)", version)
      #expect(found == expected, "\(command)")
    }
  }

  @Test(
    "it is told so only of text that begins with its heading, and only if it is the standard one")
  func others() throws {
    let new = "less 643 (PCRE2)"
    let path = try recording()
    #expect(try arguments("report \(recording(isStuck: true))", new) == "[]")
    #expect(try arguments("replay --ftrace \(path)", new) == "[]")
    #expect(try arguments("report \(path) main", new) == "[]")
    #expect(try arguments("slow main \(path)", new) == "[]")
    for command in ["report", "graph", "replay", "slow main"] {
      #expect(try arguments("\(command) --no-pager \(path)", new) == "none")
    }
    #expect(try arguments("report \(path)", new, pager: "less") == "[--header=1]")
    #expect(try arguments("report \(path)", new, pager: "less -S") == "[-S]")
    #expect(try arguments("report \(path)", new, pager: "more") == "[]")
    #expect(try arguments("report \(path)", new, pager: "cat") == "none")
  }
}
