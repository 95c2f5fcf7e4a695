// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TestSupport
import Testing
import Units

extension Event {
  /// An event at a time as the encoder takes it.
  fileprivate init(_ kind: Kind, at units: UInt64, number: UInt64 = 0) {
    self.init(kind, time: ClockUnits(units), number: number)
  }
}

/// What the reader makes of each kind of event.
@Suite struct EventTests {
  static let base: UInt64 = 1_000_000

  private func events(_ chunks: [SyntheticChunk]) throws -> (events: [Event], problems: [String]) {
    let module = SyntheticModule("/lib/one.so", functions: ["zero", "one", "two"])
    let process = SyntheticProcess(modules: [module], chunks: chunks)
    let path = try SyntheticRecording(processes: [process]).write()
    let recording = try Recording(directory: path)
    #expect(recording.problems == [])
    var events: [Event] = []
    var problems: [String] = []
    for thread in recording.processes[0].threads {
      problems += thread.forEachEvent { events.append($0) }
    }
    return (events, problems)
  }

  @Test("each form of an entry and an exit is decoded, at the edges of its fields")
  func forms() throws {
    // Delta and function of each; beyond 24 bits of entry, 14 of exit, a TIME event comes first.
    let entries: [(UInt64, UInt32)] = [
      (0, 0), (63, 255), (64, 255), (63, 256), (255, 8191), (256, 8191), (255, 8192),
      (0xff_ffff, 7), (0x100_0000, 7), (1 << 40, .max), (1, .max),
    ]
    let exits: [UInt64] = [0, 63, 64, 0x3fff, 0x4000, 1 << 50]
    var expected = [Event(.chunk, at: Self.base, number: 1)]
    var time = Self.base
    let chunk = SyntheticChunk { encoder in
      for (delta, function) in entries {
        time += delta
        encoder.entry(function, at: time)
        expected.append(Event(.entry, at: time, number: UInt64(function)))
      }
      for delta in exits {
        time += delta
        encoder.exit(at: time)
        expected.append(Event(.exit, at: time))
      }
    }
    let result = try events([chunk])
    #expect(result.events == expected)
    #expect(result.problems == [])
  }

  @Test("unwound, exit-at, lost and parent carry their numbers")
  func rareEvents() throws {
    let chunk = SyntheticChunk { encoder in
      encoder.entry(1, at: Self.base + 5)
      encoder.parent(0x7fff_ffff_fff0)
      encoder.unwound(0xff_ffff)
      encoder.exit(at: Self.base + 100_000_000, outside: .max)
      encoder.lost((1 << 56) - 1)
    }
    let result = try events([chunk])
    let late = Self.base + 100_000_000
    #expect(
      result.events == [
        Event(.chunk, at: Self.base, number: 1), Event(.entry, at: Self.base + 5, number: 1),
        Event(returningTo: 0x7fff_ffff_fff0, time: ClockUnits(Self.base + 5)),
        Event(.unwound, at: Self.base + 5, number: 0xff_ffff),
        Event(.exitAt, at: late, number: UInt64(UInt32.max)),
        Event(.lost, at: late, number: (1 << 56) - 1),
      ])
    #expect(result.events[2].returnAddress == 0x7fff_ffff_fff0)
    #expect(result.problems == [])
  }

  @Test("a chunk as long as there are is read whole")
  func longChunk() throws {
    var count = 0
    let chunk = SyntheticChunk { encoder in
      for index in 0..<11_500 {
        encoder.call(UInt32(index % 9000), from: encoder.time + 100, to: encoder.time + 400)
        count += 2
      }
    }
    #expect(chunk.body.count > 60_000)
    let result = try events([chunk])
    #expect(result.events.count == count + 1)
    #expect(result.events.last?.time == ClockUnits(Self.base + 11_500 * 400))
    for (index, event) in result.events.dropFirst().enumerated() where index % 2 == 0 {
      #expect(event.kind == .entry && event.number == UInt64(index / 2 % 9000))
    }
  }

  @Test("chunks are read in the order of their sequence, a gap between them is said")
  func gap() throws {
    func chunk(_ sequence: UInt32) -> SyntheticChunk {
      let base = Self.base + UInt64(sequence) * 1000
      return SyntheticChunk(sequence: sequence, baseTime: base, open: [0, 1]) { encoder in
        encoder.call(2, from: base + 1, to: base + 2)
      }
    }
    let module = SyntheticModule("/lib/one.so", functions: ["zero", "one", "two"])
    let process = SyntheticProcess(modules: [module], chunks: [chunk(3), chunk(0), chunk(1)])
    let path = try SyntheticRecording(processes: [process]).write()
    let recording = try Recording(directory: path)
    #expect(
      recording.problems == ["4711-0.events: thread 4711: 1 of its chunks are missing in between"])
    var cursor = recording.processes[0].threads[0].cursor()
    var begins: [Event] = []
    while let event = cursor.next() {
      if event.kind == .chunk {
        begins.append(event)
        #expect(cursor.openFunctions == [0, 1])
      }
    }
    #expect(begins.map(\.time.rawValue) == [Self.base, Self.base + 1000, Self.base + 3000])
    #expect(begins.map(\.number) == [1, 0, 1])
  }
}
