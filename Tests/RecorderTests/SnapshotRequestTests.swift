// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import CTestSupport
import Foundation
import TestSupport
import Testing

@testable import Recorder

/// What agents ask for by the arena, which nobody need have written with care.
@Suite struct SnapshotRequestTests {
  private static func options(most: Int = 10) -> RecordOptions {
    var options = RecordOptions()
    options.overwriteBytes = 1 << 16
    options.snapshots.most = most
    return options
  }

  /// Serves until the rings are free; false: they are still held after some seconds.
  private func isReleased(_ bench: ServerBench, _ agent: FakeAgent) -> Bool {
    for _ in 0..<1000 where cts_arena_is_held(agent.arena) {
      bench.server.loop.turn(milliseconds: 10)
    }
    return !cts_arena_is_held(agent.arena)
  }

  private func snapshots(_ bench: ServerBench) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: bench.path)
      .filter { $0.contains("snapshot") }.sorted()
  }

  @Test("a request takes a snapshot, whatever it says of its process and function")
  func request() throws {
    let bench = try ServerBench(Self.options(most: 2))
    var taken: [Snapshot] = []
    bench.server.whenSnapshot = { taken.append($0) }
    let agent = try bench.join()
    for place in [agent.place, 0xffff_ffff, 7] {
      cts_arena_request(agent.arena, place, 0xffff_ffff, UInt32(NREC_REQUEST_MADE))
      #expect(isReleased(bench, agent))
    }
    #expect(try snapshots(bench) == ["snapshot-1", "snapshot-2"])
    #expect(taken.map(\.isLast) == [false, true])
    #expect(taken.map(\.events) == [0, 0])
    guard case .call(let function, _, _, let name) = taken[0].cause else {
      Issue.record("no call")
      return
    }
    #expect(function == "?")
    #expect(name == String(repeating: "x", count: 16))
  }

  @Test("a request that nobody finishes holds the rings for a bounded time")
  func killed() throws {
    let bench = try ServerBench(Self.options())
    let agent = try bench.join()
    cts_arena_request(agent.arena, agent.place, 1, UInt32(NREC_REQUEST_BEGUN))
    #expect(isReleased(bench, agent))
    #expect(try snapshots(bench) == [])
    cts_arena_request(agent.arena, agent.place, 1, UInt32(NREC_REQUEST_MADE))
    #expect(isReleased(bench, agent))
    #expect(try snapshots(bench) == ["snapshot-1"])
  }

  @Test("rings that are held for no request are released")
  func noRequest() throws {
    let bench = try ServerBench(Self.options())
    let agent = try bench.join()
    cts_arena_request(agent.arena, agent.place, 1, UInt32(NREC_REQUEST_NONE))
    #expect(isReleased(bench, agent))
    #expect(try snapshots(bench) == [])
  }
}
