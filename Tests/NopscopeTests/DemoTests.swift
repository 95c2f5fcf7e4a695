// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `nopscope demo`, as a stranger runs it.
///
/// What it is expected to show stands here, written out; the demo's own expectations are not asked.
@Suite(.serialized) struct DemoTests {
  static let scenes = [
    "flash", "cost", "record", "smp", "cmpxchg", "unload", "disabled", "static", "live",
  ]

  /// One whole run, for all that look at its document.
  private static let whole = Result<ChildResult, any Error> {
    let began = Date()
    let result = try runNopscope(["demo", "--json"], timeoutSeconds: 120)
    print("nopscope demo --json: \(Int(Date().timeIntervalSince(began) * 1000)) ms")
    // A demo whose expectations failed has a document too: let the tests name what is wrong.
    guard !result.standardOutput.isEmpty else {
      throw TestSupportError("demo --json: \(result.ending): \(result.standardError)")
    }
    return result
  }

  static func document() throws -> [String: Any] { try jsonObject(whole.get().standardOutput) }

  static func scene(_ name: String) throws -> [String: Any] {
    let scenes = try #require(try document()["scenes"] as? [[String: Any]])
    return try #require(scenes.first { $0["name"] as? String == name })
  }

  @Test("--json has the documented schema, with every scene in order, and each held")
  func document() throws {
    let document = try Self.document()
    #expect(try Self.whole.get().ending == .exit(0))
    #expect(Set(document.keys) == ["schema", "scenes"])
    #expect(document["schema"] as? String == "nopscope.demo/1")
    let scenes = try #require(document["scenes"] as? [[String: Any]])
    #expect(scenes.compactMap { $0["name"] as? String } == Self.scenes)
    for scene in scenes {
      #expect(scene["held"] as? Bool == true, "\(scene["name"] ?? "?")")
      let expectations = try #require(scene["expectations"] as? [[String: Any]])
      #expect(!expectations.isEmpty && expectations.allSatisfy { $0["held"] as? Bool == true })
    }
  }

  @Test("record: five bytes of a call become the nop, and nothing calls mcount any more")
  func record() throws {
    let scene = try Self.scene("record")
    #expect((scene["before"] as? String)?.hasPrefix("e8 ") == true)
    #expect(scene["after"] as? String == "0f 1f 44 00 00")
    #expect(scene["mcountCallsAfter"] as? Int == 0)
  }

  @Test("smp: a child whose code is patched as it runs is killed by it; a stopped one survives")
  func smp() throws {
    let scene = try Self.scene("smp")
    let unstopped = try #require(scene["unstopped"] as? [[String: Any]])
    let stopped = try #require(scene["stopped"] as? [[String: Any]])
    #expect(unstopped.contains { $0["signal"] as? Int != 0 })
    for child in stopped {
      #expect(child["signal"] as? Int == 0)
      #expect(child["flips"] as? Int ?? 0 > 0)
    }
  }

  @Test("cmpxchg: to the CPU it is a write, whether the comparison fails or not")
  func cmpxchg() throws {
    let scene = try Self.scene("cmpxchg")
    let other = try #require(scene["otherBytes"] as? [String: Any])
    let same = try #require(scene["sameBytes"] as? [String: Any])
    #expect(other["errorCode"] as? Int == 7)  // present, write, user
    #expect(other["after"] as? String == "5a 5a 5a 5a 5a")
    #expect(same["errorCode"] as? Int == 7)
    #expect(same["after"] as? String == "0f 1f 44 00 00")
  }

  @Test(
    "flash: only the shipped engine writes to the card; all ones cost it the NVM, PR0 saves it",
    arguments: [
      ("shipped", "value", false, 1, 1, true, true),
      ("shipped", "ones", false, 1, 1, false, true),
      ("shipped", "ones", true, 1, 1, true, false),
      ("verified", "ones", false, nil, 0, true, false),
      ("zapped", "ones", false, 0, 0, true, false),
      ("static", "ones", false, 0, 0, true, false),
    ] as [(String, String, Bool, Int?, Int, Bool, Bool)])
  func flash(
    engine: String, writeBack: String, isProtected: Bool, reads: Int?, writes: Int, isIntact: Bool,
    complains: Bool
  ) throws {
    let runs = try #require(try Self.scene("flash")["runs"] as? [[String: Any]])
    #expect(runs.count == 6)
    let run = try #require(
      runs.first {
        $0["engine"] as? String == engine && $0["writeBack"] as? String == writeBack
          && $0["protected"] as? Bool == isProtected
      })
    let read = try #require(run["deviceReads"] as? Int)
    #expect(reads.map { read == $0 } ?? (read > 0))
    #expect(run["deviceWrites"] as? Int == writes)
    #expect(run["checksumBefore"] as? Int == 0xBABA)
    #expect((run["checksumAfter"] as? Int == 0xBABA) == isIntact)
    #expect(run["intact"] as? Bool == isIntact)
    #expect((run["driver"] is NSNull) == !complains)
  }

  @Test("static: the report names the byte, in the layout of 2.6.28")
  func report() throws {
    let report = try #require(try Self.scene("static")["report"] as? String)
    let lines = report.split(separator: "\n").map(String.init)
    #expect(lines.first == "------------[ ftrace bug ]------------")
    #expect(lines.contains("ftrace failed to modify"))
    #expect(lines.contains(" actual:   cc:1f:44:00:00"))
    #expect(lines.contains(" expected: 0f:1f:44:00:00"))
    #expect(lines.contains("Setting ftrace call site to call ftrace function"))
  }

  @Test("live: each protocol flips under running threads, and no result is wrong")
  func live() throws {
    let scene = try Self.scene("live")
    let protocols = try #require(scene["protocols"] as? [[String: Any]])
    #expect(
      protocols.compactMap { $0["protocol"] as? String }
        == ["stopMachine", "jumpGuard", "breakpoint"])
    for run in protocols {
      #expect(run["wrong"] as? Int == 0)
      for count in ["sites", "flips", "calls", "entries"] { #expect(run[count] as? Int ?? 0 > 0) }
    }
    #expect(scene["bytesAudited"] as? Int ?? 0 > 0)
    #expect(scene["bytesDiffering"] as? Int == 5)  // the jump in the loader's hook
  }
}
