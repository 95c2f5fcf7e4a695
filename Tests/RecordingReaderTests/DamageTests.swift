// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import Foundation
import RecordingReader
import TestSupport
import Testing
import Units

/// Damaged recordings: what is whole is kept, what is missing is said, nothing crashes or hangs.
///
/// A crash here takes the test process with it: that is the failure.
@Suite struct DamageTests {
  static let base: UInt64 = 1_000_000

  /// Two threads, three chunks, every kind of event and both aggregates.
  static func small() -> SyntheticRecording {
    func events(_ sequence: UInt32, open: [UInt32] = []) -> SyntheticChunk {
      SyntheticChunk(sequence: sequence, baseTime: base, open: open) { encoder in
        encoder.entry(0, at: base + 1)
        encoder.call(1, from: base + 2, to: base + 300)
        encoder.entry(2, at: base + 100_000_000)
        encoder.parent(0x5555_0000_1004)
        encoder.unwound(1)
        encoder.exit(at: base + 100_000_100, outside: 0)
        encoder.lost(3)
      }
    }
    let profile = nrec_profile_entry(
      ended_calls: 2, open_calls: 0, calls: 2, total_time: 30, self_time: 20, minimum_time: 10,
      maximum_time: 20, squares_low: 500, squares_high: 0, sum_time: 30)
    var tree = SyntheticChunk(tree: [(0, 0, 0), (1, 0, 3), (2, 1, 4)])
    tree.sequence = 2
    let module = SyntheticModule("/lib/one.so", functions: ["zero", "_ZN3one3twoEv", ""])
    let process = SyntheticProcess(
      modules: [module],
      chunks: [
        events(0), events(1, open: [0]), tree,
        SyntheticChunk(profile: [nrec_profile_entry(), profile]).of(
          thread: 4712, serial: 1, name: "worker"),
      ])
    return SyntheticRecording(processes: [process])
  }

  /// Reads all that can be read; how many events, and the problems.
  @discardableResult
  static func readAll(_ path: String) throws -> (events: Int, problems: [String]) {
    let recording = try Recording(directory: path)
    var problems = recording.problems
    var count = 0
    for process in recording.processes {
      for thread in process.threads {
        problems += thread.forEachEvent { event in
          count += 1
          if event.kind == .entry { _ = process.function(event.number).label(number: event.number) }
          if event.kind == .parent {
            _ = process.caller(at: event.returnAddress, time: event.time)
          }
        }
        problems += thread.forEachTreeNode { _, node in _ = process.function(UInt64(node.function))
        }
        problems += thread.forEachProfileEntry { _ = process.function(UInt64($0.function)) }
      }
    }
    return (count, problems + recording.symbolProblems)
  }

  private static func files(_ path: String) throws -> [String] {
    [
      "4711-0.events", "4711-0.modules", "session.json", "processes",
      "symbols/00112233445566778899aabbccddeeff00112233",
    ]
    .map { "\(path)/\($0)" }
  }

  @Test("a recording cut at any byte of any file is read as far as it goes", arguments: 0..<5)
  func truncation(file: Int) throws {
    let path = try Self.small().write()
    let whole = try Self.readAll(path)
    #expect(whole.problems == [])
    #expect(whole.events == 18)
    let name = try Self.files(path)[file]
    let size = try Data(contentsOf: URL(fileURLWithPath: name)).count
    var fewest = whole.events
    for length in (0..<size).reversed() {
      truncate(name, off_t(length))
      let read = try Self.readAll(path)
      if read.events > fewest || (file == 0 && read.problems == []) {
        Issue.record("\(length) bytes: \(read.events) events, problems \(read.problems)")
      }
      fewest = min(fewest, read.events)
    }
    #expect(fewest == (file == 0 ? 0 : whole.events))
  }

  @Test("bytes flipped at random are survived", arguments: 0..<5)
  func flips(file: Int) throws {
    let path = try Self.small().write()
    let name = try Self.files(path)[file]
    let bytes = try Data(contentsOf: URL(fileURLWithPath: name))
    var generator = SeededGenerator(seed: UInt64.random(in: 0...UInt64.max))
    print("flips of \(name): seed \(generator.seed)")
    // Most of an event file is padding: half of the flips go where something is.
    let places = bytes.indices.filter { bytes[$0] != 0 }
    for _ in 0..<500 {
      var damaged = bytes
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let anywhere = Int.random(in: 0..<bytes.count, using: &generator)
        let place =
          Bool.random(using: &generator) ? anywhere : places.randomElement(using: &generator) ?? 0
        damaged[place] = UInt8.random(in: 0...255, using: &generator)
      }
      try damaged.write(to: URL(fileURLWithPath: name))
      do {
        try Self.readAll(path)
      } catch let error as RecordingError {
        #expect("\(error)".contains(path))
      }
    }
  }

  @Test("a chunk whose magic is wrong is skipped and named, the next is read")
  func skippedChunk() throws {
    let path = try Self.small().write()
    let name = try Self.files(path)[0]
    var bytes = try Data(contentsOf: URL(fileURLWithPath: name))
    bytes.replaceSubrange(4096..<4100, with: [0, 0, 0, 0])
    try bytes.write(to: URL(fileURLWithPath: name))
    let read = try Self.readAll(path)
    #expect(read.events == 9)
    #expect(
      read.problems == [
        "chunk at 0x1000 of 4711-0.events: magic 0x0, expected 0x4b48434e, skipped to 0x2000",
        "4711-0.events: thread 4711: its first chunks are missing",
      ])
  }

  @Test("a place that a killed process took and did not begin is no damage; any other is")
  func unbegunPlace() throws {
    for (hasEnded, byte, isNote) in [(false, 0, true), (true, 0, false), (false, 1, false)] {
      var recording = Self.small()
      recording.processes[0].flags = hasEnded ? UInt32(NREC_FLAG_ENDED) : 0
      let path = try recording.write()
      let name = try Self.files(path)[0]
      var bytes = try Data(contentsOf: URL(fileURLWithPath: name))
      // Before the first chunk; its header may have been filled but for the magic.
      var place = Data(count: 8192)
      place.replaceSubrange(4..<40, with: Data(repeating: 7, count: 36))
      place[5000] = UInt8(byte)
      bytes.insert(contentsOf: place, at: 4096)
      let end = MemoryLayout<nrec_file_header>.offset(of: \.next_offset) ?? 0
      bytes.replaceSubrange(
        end..<end + 8, with: withUnsafeBytes(of: UInt64(bytes.count)) { Data($0) })
      try bytes.write(to: URL(fileURLWithPath: name))
      let read = try Self.readAll(path)
      #expect(read.events == 18)
      let what = "chunk at 0x1000 of 4711-0.events: "
      let notes = try Recording(directory: path).notes
      if isNote {
        #expect(read.problems == [])
        #expect(
          notes.contains(what + "the process ended before it wrote this chunk, skipped to 0x3000"))
      } else {
        #expect(
          read.problems == [what + "magic 0x0, expected 0x4b48434e, skipped to 0x3000"])
      }
    }
  }

  @Test("a process that was killed before it wrote its header is no damage", arguments: [0, 4096])
  func unbegunFile(size: Int) throws {
    let path = try Self.small().write()
    let names = try Self.files(path)
    try Data(count: size).write(to: URL(fileURLWithPath: names[0]))
    #expect(try Self.readAll(path).problems.count == 1, "it had told of its modules")
    try Data().write(to: URL(fileURLWithPath: names[1]))
    #expect(try Self.readAll(path).problems == [])
    let note = "4711-0.events: its process ended before it began to record"
    #expect(try Recording(directory: path).notes.contains(note))
  }

  @Test("an unknown event ends its chunk, and says where")
  func unknownEvent() throws {
    let chunk = SyntheticChunk { encoder in
      encoder.call(1, from: Self.base + 1, to: Self.base + 2)
      encoder.raw([0xa0, 1, 2, 3, 4, 5, 6, 7, 8])
    }
    let next = SyntheticChunk(sequence: 1) { $0.call(1, from: Self.base + 1, to: Self.base + 2) }
    let path = try SyntheticRecording(processes: [SyntheticProcess(chunks: [chunk, next])]).write()
    let read = try Self.readAll(path)
    #expect(read.events == 6)
    #expect(
      read.problems == [
        "chunk at 0x1000 of 4711-0.events: at 0x1043: expected an event, found the byte a0, "
          + "rest skipped"
      ])
  }

  @Test("an event cut off at its chunk's end is not handed out")
  func cutEvent() throws {
    let chunk = SyntheticChunk { encoder in
      encoder.call(1, from: Self.base + 1, to: Self.base + 2)
      encoder.raw([0x60, 1, 0, 0])
    }
    let path = try SyntheticRecording(processes: [SyntheticProcess(chunks: [chunk])]).write()
    let read = try Self.readAll(path)
    #expect(read.events == 3)
    #expect(
      read.problems == [
        "chunk at 0x1000 of 4711-0.events: at 0x1047: the last event is cut off"
      ])
  }

  @Test("a recording of another version, none at all, and a file are one clear error each")
  func refused() throws {
    let path = try Self.small().write()
    let name = try Self.files(path)[0]
    var bytes = try Data(contentsOf: URL(fileURLWithPath: name))
    for version: UInt8 in [1, 4] {
      bytes[8] = version
      try bytes.write(to: URL(fileURLWithPath: name))
      #expect(throws: RecordingError.otherVersion(path: name, found: UInt32(version))) {
        try Recording(directory: path)
      }
    }
    bytes[8] = 2
    try bytes.write(to: URL(fileURLWithPath: name))
    #expect(try Recording(directory: path).problems == [])
    let empty = try TemporaryFolder.shared.fresh("empty")
    #expect(throws: RecordingError.noEvents(path: empty)) { try Recording(directory: empty) }
    #expect(throws: RecordingError.notDirectory(path: name)) { try Recording(directory: name) }
    #expect(throws: RecordingError.self) { try Recording(directory: empty + "/none") }
    try Data(#"{"schema":"nopscope.recording/2"}"#.utf8)
      .write(to: URL(fileURLWithPath: empty + "/session.json"))
    #expect(
      throws: RecordingError.otherSchema(
        path: empty + "/session.json", found: "nopscope.recording/2")
    ) { try Recording(directory: empty) }
  }

  @Test("sizes that would take all memory or time are rejected")
  func hugeClaims() throws {
    let path = try Self.small().write()
    let name = try Self.files(path)[0]
    // A sparse terabyte, claimed to be used.
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: name))
    try handle.seek(toOffset: UInt64(MemoryLayout<nrec_file_header>.offset(of: \.next_offset) ?? 0))
    try handle.write(contentsOf: Data([0, 0, 0, 0, 0, 1, 0, 0]))
    try handle.truncate(atOffset: 1 << 40)
    try handle.close()
    let start = ContinuousClock.now
    let read = try Self.readAll(path)
    #expect(read.events == 18)
    #expect(read.problems.contains { $0.contains("skipped to 0x10000000000") })
    #expect(ContinuousClock.now - start < .seconds(20), "holes are stepped over")
  }
}
