// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `nopscope audit`, as a user runs it.
@Suite struct AuditCommandTests {
  /// Runs `body` with the id of a process that sleeps.
  private func withSleeper(_ body: (Int32) throws -> Void) throws {
    let sleeper = Process()
    sleeper.executableURL = URL(fileURLWithPath: try #require(Tools.find("sleep")))
    sleeper.arguments = ["60"]
    try sleeper.run()
    let pid = sleeper.processIdentifier
    defer {
      // Not SIGTERM: the runner's threads block it, and a child inherits the mask.
      kill(pid, SIGKILL)
      sleeper.waitUntilExit()
    }
    for _ in 0..<5000 {
      let maps = try? String(contentsOfFile: "/proc/\(pid)/maps", encoding: .utf8)
      if let maps, maps.contains("/sleep\n"), maps.contains("libc.so") { return try body(pid) }
      usleep(2000)
    }
    Issue.record("sleep did not start")
  }

  @Test("a process that nobody has patched: status 0; --json is the documented schema")
  func unpatched() throws {
    try withSleeper { pid in
      let text = try runNopscope(["audit", "\(pid)"])
      #expect(text.ending == .exit(0))
      #expect(text.output.contains(", 0 bytes differ"), "\(text.output)")
      let result = try runNopscope(["audit", "--json", "\(pid)"])
      #expect(result.ending == .exit(0))
      let document = try jsonObject(result.standardOutput)
      #expect(
        Set(document.keys) == [
          "schema", "pid", "modules", "bytesCompared", "bytesDiffering", "bytesUnlisted",
          "differences", "uncompared",
        ])
      #expect(document["schema"] as? String == "nopscope.audit/1")
      #expect(document["pid"] as? Int == Int(pid))
      #expect(document["bytesDiffering"] as? Int == 0)
      #expect(document["bytesCompared"] as? Int ?? 0 > 100_000)
      let modules = try #require(document["modules"] as? [String])
      #expect(modules.contains { $0.contains("libc.so") })
    }
  }

  @Test("no such process: status 2; no number of one: 64")
  func wrong() throws {
    let missing = try runNopscope(["audit", "\(Int32.max)"])
    #expect(missing.ending == .exit(2))
    #expect(missing.standardError.hasPrefix("nopscope: "))
    let zero = try runNopscope(["audit", "0"])
    #expect(zero.ending == .exit(64))
    #expect(zero.standardError.contains("expected a process number above 0, found 0"))
  }
}
