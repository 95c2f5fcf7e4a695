// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import RecordingReader
import TestSupport

/// Recordings for tests of exports. One unit is one nanosecond.
enum ExportRecordings {
  static let base: UInt64 = 1_000_000
  static let functions = [
    "main", "parse", "next_token", "a \"quoted\\name", "_ZN2ns3fooEi", "leaf", "", "héllo",
  ]

  static func module(_ path: String = "/usr/bin/program", first: UInt32 = 0) -> SyntheticModule {
    SyntheticModule(path, firstFunction: first, functions: functions)
  }

  /// Random calls of several threads, in chunks without gaps.
  static func random(seed: UInt64, threads: Int = 3, calls: Int = 400) throws -> Recording {
    var generator = SeededGenerator(seed: seed)
    var chunks: [SyntheticChunk] = []
    for thread in 0..<threads {
      chunks += randomThread(Int32(4711 + thread), UInt32(thread), calls, &generator)
    }
    return try open([SyntheticProcess(modules: [module()], chunks: chunks)])
  }

  private static func randomThread(
    _ id: Int32, _ serial: UInt32, _ calls: Int, _ generator: inout SeededGenerator
  ) -> [SyntheticChunk] {
    var chunks: [SyntheticChunk] = []
    var open: [UInt32] = []
    var time = base + UInt64(serial) * 77
    var left = calls
    while left > 0 || !open.isEmpty {
      let chunk = SyntheticChunk(sequence: UInt32(chunks.count), baseTime: time, open: open) {
        for _ in 0..<150 where left > 0 || !open.isEmpty {
          time += UInt64.random(in: 1...90, using: &generator)
          if left > 0 && (open.isEmpty || Bool.random(using: &generator)) {
            let function = UInt32.random(in: 0..<8, using: &generator)
            $0.entry(function, at: time)
            open.append(function)
            left -= 1
          } else if !open.isEmpty {
            $0.exit(at: time)
            open.removeLast()
          }
        }
      }
      chunks.append(chunk.of(thread: id, serial: serial, name: "worker \(serial)"))
    }
    return chunks
  }

  /// main (0) of each of two threads lasts from 100 to 1100; the first is off the CPU twice before its last
  /// event, and once before its first and after its last.
  static func waits() throws -> Recording {
    let chunk = SyntheticChunk(baseTime: base + 100) {
      $0.call(0, from: base + 100, to: base + 1100)
    }
    let other = chunk.of(thread: 4712, serial: 1, name: "busy")
    var recording = SyntheticRecording(
      processes: [SyntheticProcess(modules: [module()], chunks: [chunk, other])])
    for (from, to, isRunnable) in [
      (20, 90, false), (200, 500, false), (600, 650, true), (1200, 1300, false),
    ] as [(UInt64, UInt64, Bool)] {
      recording.switches += SyntheticSwitch.away(
        4711, from: base + from, to: base + to, isRunnable: isRunnable)
    }
    return try Recording(directory: recording.write())
  }

  /// main (0) opens parse (1), whose call of next_token (2) is unwound; leaf (5) is entry-only;
  /// main and the last parse never return.
  static func unusual() throws -> Recording {
    var module = module()
    module.entryOnly = [5]
    let chunk = SyntheticChunk {
      $0.entry(0, at: base)
      $0.entry(1, at: base + 10)
      $0.entry(5, at: base + 15)
      $0.entry(2, at: base + 20)
      $0.entry(2, at: base + 30)
      $0.unwound(2)
      $0.exit(at: base + 50)
      $0.lost(7)
      $0.entry(1, at: base + 60)
      $0.call(2, from: base + 70, to: base + 75)
    }
    return try open([SyntheticProcess(modules: [module], chunks: [chunk])])
  }

  /// The first chunk begins inside main and parse; between the two, events are missing.
  static func gap() throws -> Recording {
    let first = SyntheticChunk(sequence: 3, baseTime: base + 5, open: [0, 1]) {
      $0.entry(2, at: base + 10)
    }
    var second = SyntheticChunk(sequence: 9, baseTime: base + 100, open: [0]) {
      $0.call(5, from: base + 110, to: base + 120)
      $0.exit(at: base + 130)
    }
    second.lostEvents = 4
    return try open([SyntheticProcess(modules: [module()], chunks: [first, second])])
  }

  /// main calls parse on another stack; main's stack goes on and returns first.
  static func otherStack() throws -> Recording {
    let chunk = SyntheticChunk {
      $0.entry(0, at: base)
      $0.entry(1, at: base + 10)
      $0.entry(2, at: base + 20)
      $0.exit(at: base + 30, outside: 0)
      $0.exit(at: base + 40)
      $0.exit(at: base + 60)
    }
    return try open([SyntheticProcess(modules: [module()], chunks: [chunk])])
  }

  /// A parent, its fork, and what the fork executed.
  static func processes() throws -> Recording {
    func process(_ pid: Int32, _ incarnation: UInt32, _ parent: Int32, _ start: UInt64)
      -> SyntheticProcess
    {
      let path = incarnation == 0 ? "/usr/bin/program" : "/opt/with space/program"
      var chunk = SyntheticChunk(baseTime: start) {
        $0.entry(0, at: start + 1)
        $0.call(1 + UInt32(incarnation), from: start + 2, to: start + 12)
        $0.exit(at: start + 20)
      }
      chunk.thread = pid
      var process = SyntheticProcess(modules: [module(path)], chunks: [chunk])
      process.pid = pid
      process.parent = parent
      process.incarnation = incarnation
      process.program = path
      process.startTime = start
      return process
    }
    return try open([
      process(100, 0, 1, base), process(101, 0, 100, base + 100), process(101, 1, 100, base + 500),
    ])
  }

  /// Recursion `depth` deep.
  static func deep(_ depth: Int) throws -> Recording {
    let chunk = SyntheticChunk {
      for level in 0..<depth { $0.entry(2, at: base + UInt64(level)) }
      for level in 0..<depth { $0.exit(at: base + UInt64(depth + level)) }
    }
    return try open([SyntheticProcess(modules: [module()], chunks: [chunk])])
  }

  /// Of another tracer than function_graph.
  static func of(tracer: String) throws -> Recording {
    let chunk: SyntheticChunk =
      switch tracer {
      case "function":
        SyntheticChunk {
          $0.entry(0, from: 0x1000, at: base)
          $0.entry(1, from: 0x2000, at: base + 10)
          $0.entry(1, from: 0x2000, at: base + 20)
        }
      case "callgraph":
        SyntheticChunk(tree: [(0, 0, 0), (0, 0, 1), (1, 1, 20), (2, 2, 300), (2, 1, 4)])
      default: SyntheticChunk(profile: [])
      }
    return try open([SyntheticProcess(modules: [module()], chunks: [chunk])], tracer: tracer)
  }

  static func open(
    _ processes: [SyntheticProcess], tracer: String = "function_graph"
  ) throws -> Recording {
    try Recording(
      directory: SyntheticRecording(tracer: tracer, processes: processes).write())
  }
}
