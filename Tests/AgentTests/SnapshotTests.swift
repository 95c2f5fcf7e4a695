// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `--snapshot-on` and `--snapshot-signal`: the rings are kept as recordings of their own, and the
/// program runs on.
@Suite struct SnapshotTests {
  private static let onSlow = ["--overwrite", "64K", "--snapshot-on", "handle_*>300ms"]

  private func run(
    _ how: String, _ options: [String] = onSlow, _ variant: Variant = .usual,
    isLate: Bool = false
  ) throws -> TracedRun {
    let program = try Program(source: "slow_requests.c", variant: variant).build()
    let traced = try TracedRun(program, isLate ? [how, "late"] : [how], options: options)
    #expect(traced.result.ending == .exit(3))
    #expect(traced.result.output == "child 5\n")
    #expect(traced.recording.complaints == [])
    return traced
  }

  private func snapshots(_ folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.contains("snapshot") }
      .sorted()
  }

  private func document(_ words: [String]) throws -> [String: Any] {
    let result = try runNopscope(words + ["--json"])
    #expect(result.ending == .exit(0))
    return try jsonObject(result.standardOutput)
  }

  /// Calls by function, of `nopscope report`.
  private func reported(_ folder: String) throws -> [String: Int] {
    var calls: [String: Int] = [:]
    let rows = try document(["report", folder])["functions"] as? [[String: Any]]
    for row in rows ?? [] {
      calls[row["function"] as? String ?? "", default: 0] += row["calls"] as? Int ?? 0
    }
    return calls
  }

  @Test("a slow call is in the snapshot with what led to it, and nothing is asked for otherwise")
  func slowCall() throws {
    let traced = try run("one")
    #expect(try snapshots(traced.folder) == ["snapshot-1"])
    let path = traced.folder + "/snapshot-1"
    let calls = try reported(path)
    #expect(calls["nap"] == 1)
    #expect(calls["led_to_it"] == 1)
    #expect(calls["handle_request"] == 100 + 1 + 2 * 50 + 20)
    #expect(calls["serve"] == 4)
    #expect(try reported(traced.folder)["nap"] == nil)
    let line = try #require(traced.result.standardError.split(separator: "\n").first)
    #expect(line.hasPrefix("nopscope: \(path): handle_request took 5"))
    #expect(line.contains(" ms in thread "))
    #expect(line.contains(" (slow_requests): "))
    #expect(line.contains(" events"))
  }

  @Test("a recorder that comes late finds the rings as they were; what had no room is counted")
  func late() throws {
    let traced = try run("one", isLate: true)
    #expect(try snapshots(traced.folder) == ["snapshot-1"])
    let calls = try reported(traced.folder + "/snapshot-1")
    #expect(calls["nap"] == 1)
    #expect(calls["led_to_it"] == 1)
    #expect(calls["handle_request"] == 100 + 1 + 2 * 50 + 20)
    #expect(traced.result.standardError.contains(" lost while it was copied\n"))
    #expect(!traced.result.standardError.contains("found no memory"))
  }

  @Test("it is a recording: info, replay, graph and export read it, and it has all that live")
  func readable() throws {
    let path = try run("one").folder + "/snapshot-1"
    let info = try document(["info", path])
    let processes = try #require(info["processes"] as? [[String: Any]])
    #expect(processes.count == 2)
    #expect(processes.map { ($0["threads"] as? [Any])?.count ?? 0 }.sorted() == [1, 3])
    #expect(info["ended"] as? Bool == true)
    #expect(info["corrupted"] as? Bool == false)
    for words in [["replay", path], ["graph", path], ["export", path, "--format", "folded"]] {
      let result = try runNopscope(words)
      #expect(result.ending == .exit(0))
      #expect(result.output.contains("nap"))
    }
    let decoded = try DecodedRecording(path)
    #expect(decoded.complaints == [])
  }

  @Test("so it is at every kind of call site", arguments: Variant.some)
  func variants(variant: Variant) throws {
    let traced = try run("one", Self.onSlow, variant)
    #expect(try snapshots(traced.folder) == ["snapshot-1"])
    #expect(try reported(traced.folder + "/snapshot-1")["nap"] == 1)
  }

  @Test("a thread that ends with its slow call is in the snapshot")
  func endsAtOnce() throws {
    let traced = try run("thread", isLate: true)
    #expect(try snapshots(traced.folder) == ["snapshot-1"])
    #expect(try reported(traced.folder + "/snapshot-1")["led_to_it"] == 1)
  }

  @Test("a call below the limit takes none, nor does one that never returns")
  func none() throws {
    #expect(
      try snapshots(run("one", ["--overwrite", "64K", "--snapshot-on", "step>300ms"]).folder)
        == [])
    #expect(try snapshots(run("unwound").folder) == [])
  }

  @Test("each slow call takes one, until there are as many as there may be")
  func several() throws {
    #expect(
      try snapshots(run("three").folder) == ["snapshot-1", "snapshot-2", "snapshot-3"])
    let bounded = try run("three", Self.onSlow + ["--snapshots", "2"])
    #expect(try snapshots(bounded.folder) == ["snapshot-1", "snapshot-2"])
    #expect(
      bounded.result.standardError.contains(
        "\nnopscope: --snapshots 2: no other snapshot is taken\n"))
    // The third may have begun.
    let naps = try #require(reported(bounded.folder + "/snapshot-2")["nap"])
    #expect((2...3).contains(naps))
  }

  @Test("a function that no filter names is timed all the same")
  func filtered() throws {
    let traced = try run("one", Self.onSlow + ["--filter", "led_to_it"])
    let calls = try reported(traced.folder + "/snapshot-1")
    #expect(calls["led_to_it"] == 1)
    #expect(calls["nap"] == nil)
  }

  private func ask(_ words: [String], _ options: [String]) throws -> (ChildResult, String) {
    let program = try Program(source: "asks.c").build()
    let folder = try TemporaryFolder.shared.fresh("asks") + "/data"
    let result = try runNopscope(
      ["record"] + options + ["-o", folder, "--", program, folder] + words)
    return (result, folder)
  }

  @Test(
    "a signal to nopscope takes one, of every tracer of events; the program does not get it",
    arguments: [
      [], ["--tracer", "function"], ["--max-depth", "9"], ["--threshold", "1ns"],
      ["--start-on", "work"],
    ])
  func signal(tracer: [String]) throws {
    let options = ["--overwrite", "64K", "--snapshot-signal", "USR2"] + tracer
    let (result, folder) = try ask(["3"], options + ["--snapshots", "2"])
    #expect(result.ending == .exit(4))
    #expect(result.output == "asked\n")
    #expect(try snapshots(folder) == ["snapshot-1", "snapshot-2"])
    for number in 1...2 {
      let calls = try reported("\(folder)/snapshot-\(number)")
      #expect(calls["work"] == 1000)
      #expect(calls["asked"] == number)
      #expect(
        result.standardError.contains(
          "nopscope: \(folder)/snapshot-\(number): a signal asked for it: "))
    }
  }

  @Test(
    "a recorder that is killed leaves no half snapshot",
    arguments: ["snapshot-1", ".snapshot-1.new"])
  func killed(whenThere name: String) throws {
    let options = ["--overwrite", "64K", "--snapshot-signal", "SIGUSR2"]
    let (result, folder) = try ask(["kill", name], options)
    #expect(result.ending == .signal(SIGKILL))
    for name in try snapshots(folder) where name == "snapshot-1" {
      #expect(try reported("\(folder)/\(name)")["work"] == 1000)
    }
  }

  @Test("an earlier recording goes with its snapshots, also with one that was not finished")
  func removed() throws {
    let program = try Program(source: "asks.c").build()
    let folder = try TemporaryFolder.shared.fresh("asks") + "/data"
    for _ in 0..<3 {
      _ = try runNopscope(
        [
          "record", "--overwrite", "64K", "--snapshot-signal", "USR2", "-o", folder, "--", program,
          folder, "2",
        ])
      try FileManager.default.createDirectory(
        atPath: folder + "/.snapshot-9.new/symbols", withIntermediateDirectories: true)
      try Data("x".utf8).write(to: URL(fileURLWithPath: folder + "/.snapshot-9.new/symbols/x"))
    }
    #expect(try snapshots(folder).contains("snapshot-1"))
    #expect(try snapshots(folder + ".old").contains("snapshot-1"))
    let beside = try FileManager.default.contentsOfDirectory(
      atPath: (folder as NSString).deletingLastPathComponent)
    #expect(beside.sorted() == ["data", "data.old"])
  }
}
