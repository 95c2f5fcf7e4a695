// SPDX-License-Identifier: Apache-2.0

import RecordingReader
import TestSupport
import Testing
import TraceAnalysis

/// The text of a replay, letter by letter.
@Suite struct ReplayTests {
  static let base = ReportTests.base

  private func graph(
    _ recording: Recording, as layout: ReplayLayout = .ftrace, colours: ReplayColours = .none
  ) -> String {
    var text: [UInt8] = []
    _ = FunctionGraphText.write(
      recording,
      to: TextBuffer {
        text += $0
        return true
      }, as: layout, colours: colours)
    return String(decoding: text, as: UTF8.self)
  }

  private func function(_ recording: Recording) -> String {
    var text: [UInt8] = []
    _ = FunctionText.write(
      recording, calls: Report(of: recording).calls,
      to: TextBuffer {
        text += $0
        return true
      })
    return String(decoding: text, as: UTF8.self)
  }

  @Test("colours end on the line where they begin: a pager resets them there")
  func colours() throws {
    let other = SyntheticChunk(baseTime: Self.base) { encoder in
      encoder.call(2, from: Self.base + 5, to: Self.base + 20_000)
    }
    let recording = try ReportTests.recording([
      SyntheticChunk { encoder in
        encoder.call(1, from: Self.base, to: Self.base + 2)
        encoder.call(1, from: Self.base + 30_000, to: Self.base + 30_002)
      }, other.of(thread: 4712, serial: 1, name: "worker"),
    ])
    let lines = graph(recording, colours: .terminal).split(separator: "\n")
    let coloured = lines.filter { $0.contains("\u{1b}") }
    // Two switches of three lines, and one mark.
    #expect(coloured.count == 7)
    for line in coloured {
      #expect(line.split(separator: "\u{1b}", omittingEmptySubsequences: false).count == 3)
      #expect(line.contains("\u{1b}[0m"))
    }
  }

  @Test("any number of threads is merged by time, and those of one time by the threads' order")
  func merged() throws {
    var generator = SeededGenerator(seed: UInt64.random(in: 0...UInt64.max))
    print("merged threads: seed \(generator.seed)")
    for threads in [1, 2, 3, 17] {
      var chunks: [SyntheticChunk] = []
      var calls: [(start: UInt64, thread: Int, length: UInt64)] = []
      for thread in 0..<threads {
        let start = Self.base + UInt64.random(in: 0...50, using: &generator)
        let chunk = SyntheticChunk(baseTime: start) { encoder in
          for _ in 0..<100 {
            let time = encoder.time + UInt64.random(in: 0...20, using: &generator)
            let length = UInt64.random(in: 0...9, using: &generator)
            encoder.call(3, from: time, to: time + length)
            calls.append((time, thread, length))
          }
        }
        chunks.append(chunk.of(thread: Int32(500 + thread), serial: UInt32(thread), name: "t"))
      }
      calls.sort { ($0.start, $0.thread) < ($1.start, $1.thread) }
      let lines = graph(try ReportTests.recording(chunks), as: .sinceStart)
        .split(separator: "\n").dropFirst()
      let found = lines.map { $0.split(separator: " ").dropFirst().map(String.init) }
      #expect(found == calls.map { ["t/\(500 + $0.thread)", "\($0.length)", "ns", "leaf();"] })
    }
  }

  @Test("a thread that is renamed has its new name from the chunk that has it")
  func renamed() throws {
    let first = SyntheticChunk { $0.call(3, from: Self.base, to: Self.base + 1) }
    let second = SyntheticChunk(sequence: 1, baseTime: Self.base + 10) {
      $0.call(3, from: Self.base + 10, to: Self.base + 11)
    }
    let recording = try ReportTests.recording([
      first.of(thread: 9, serial: 0, name: "before"),
      second.of(thread: 9, serial: 0, name: "later"),
    ])
    let lines = graph(recording, as: .sinceStart).split(separator: "\n").dropFirst()
    #expect(lines.map { $0.split(separator: " ")[1] } == ["before/9", "later/9"])
  }

  @Test("functions of large and of unknown numbers have their own names")
  func numbers() throws {
    let numbers: [UInt32] = [3, 500_000, 0xf_ffff, 0x10_0000, 0xffff_ffff, 3, 0xffff_ffff, 500_000]
    let recording = try ReportTests.recording([
      SyntheticChunk { encoder in
        for number in numbers {
          encoder.call(number, from: encoder.time + 1, to: encoder.time + 2)
        }
      }
    ])
    let lines = graph(recording, as: .sinceStart).split(separator: "\n").dropFirst()
    let process = recording.processes[0]
    let expected = numbers.map { number in
      process.function(UInt64(number)).label(number: UInt64(number)) + "();"
    }
    #expect(lines.map { String($0.split(separator: "ns  ").last ?? "") } == expected)
  }

  static let header = """
    # tracer: function_graph
    #
    # CPU  DURATION                  FUNCTION CALLS
    # |     |   |                     |   |   |   |

    """

  @Test("function_graph: leaves, marks, unwound calls, lost events, calls that never returned")
  func functionGraph() throws {
    let recording = try ReportTests.recording([
      SyntheticChunk { encoder in
        encoder.entry(0, at: Self.base)
        for (length, _) in [
          1_382, 10_500, 123_456, 1_234_567, 12_345_678, 123_456_789, 1_234_567_890,
        ]
        .map({ (UInt64($0), 0) }) {
          encoder.call(3, from: encoder.time, to: encoder.time + length)
        }
        encoder.entry(1, at: encoder.time + 1)
        encoder.entry(2, at: encoder.time + 4)
        encoder.unwound(1)
        encoder.lost(12)
        encoder.exit(at: encoder.time + 16_000)
      }
    ])
    #expect(
      graph(recording) == Self.header + """
         0)               |  main() {
         0)   1.382 us    |    leaf();
         0) + 10.500 us   |    leaf();
         0) ! 123.456 us  |    leaf();
         0) # 1234.567 us |    leaf();
         0) * 12345.67 us |    leaf();
         0) @ 123456.7 us |    leaf();
         0) $ 1234567 us  |    leaf();
         0)               |    f() {
         0)               |      g() {
         0)   0.000 us    |      } /* g unwound */
        CPU:0 [LOST 12 EVENTS]
         0) + 16.004 us   |    }

        """)
  }

  @Test("threads come in the order of time, a change is a change of task")
  func threads() throws {
    let first = SyntheticChunk { encoder in
      encoder.entry(0, at: Self.base)
      encoder.exit(at: Self.base + 5000)
    }
    let second = SyntheticChunk(baseTime: Self.base + 1000, open: [1]) { encoder in
      encoder.call(3, from: Self.base + 1000, to: Self.base + 2000)
      encoder.exit(at: Self.base + 6000)
    }
    let third = SyntheticChunk(baseTime: Self.base + 2500) { encoder in
      encoder.call(3, from: Self.base + 2500, to: Self.base + 2600)
    }
    let recording = try ReportTests.recording([
      first, second.of(thread: 4712, serial: 1, name: "a-long-name"),
      third.of(thread: 4713, serial: 2, name: "w"),
    ])
    let rule = " ------------------------------------------"
    #expect(
      graph(recording) == Self.header + """
         0)   5.000 us    |  main();
        \(rule)
         0)  program-4711  =>  a-long--4712\u{20}
        \(rule)

         0)   1.000 us    |    leaf();
        \(rule)
         0)  a-long--4712  =>     w-4713   \u{20}
        \(rule)

         0)   0.100 us    |  leaf();
        \(rule)
         0)     w-4713     =>  a-long--4712\u{20}
        \(rule)

         0)               |  } /* f */

        """)
  }

  @Test("function: callers from return addresses, or from what is open")
  func functionText() throws {
    let entries = try ReportTests.recording(
      tracer: "function",
      [
        SyntheticChunk { encoder in
          encoder.entry(1, from: 0x5555_0000_1002, at: Self.base + 1_500_000)
          encoder.entry(3, from: 0x4444, at: Self.base + 1_234_567_890)
          encoder.entry(1, from: 0x5555_0000_1002, at: Self.base + 1_234_568_000)
        }
      ])
    let header = """
      # tracer: function
      #
      # entries-in-buffer/entries-written: 3/3   #P:1
      #
      #           TASK-PID     CPU#     TIMESTAMP  FUNCTION
      #              | |         |         |         |

      """
    #expect(
      function(entries) == header + """
                 program-4711    [000]     0.001500: f <-main
                 program-4711    [000]     1.234567: leaf <-0x4444
                 program-4711    [000]     1.234568: f <-main

        """)
    let graph = try ReportTests.recording([
      SyntheticChunk { encoder in
        encoder.entry(0, at: Self.base)
        encoder.call(3, from: Self.base + 1000, to: Self.base + 2000)
        encoder.call(3, from: Self.base + 2500, to: Self.base + 2600)
        encoder.exit(at: Self.base + 3000)
      }
    ])
    #expect(
      function(graph) == header + """
                 program-4711    [000]     0.000000: main <-?
                 program-4711    [000]     0.000001: leaf <-main
                 program-4711    [000]     0.000002: leaf <-main

        """)
  }

  @Test("a leaf whose return is in the next chunk is a leaf")
  func leafAcrossChunks() throws {
    let recording = try ReportTests.recording([
      SyntheticChunk { $0.entry(3, at: Self.base) },
      SyntheticChunk(sequence: 1, open: [3]) { $0.exit(at: Self.base + 700) },
    ])
    #expect(graph(recording) == Self.header + " 0)   0.700 us    |  leaf();\n")
  }

  @Test("a function without a hooked return is a leaf without a time")
  func entryOnly() throws {
    let recording = try ReportTests.recording(
      [
        SyntheticChunk { encoder in
          encoder.entry(1, at: Self.base)
          encoder.call(3, from: Self.base + 1, to: Self.base + 2)
        }
      ], change: { $0.modules[0].entryOnly = [1] })
    #expect(
      graph(recording) == Self.header + """
         0)               |  f();
         0)   0.001 us    |  leaf();

        """)
  }

  @Test("indentation ends at 256 levels: an event of two bytes is no line of megabytes")
  func deep() throws {
    let open = Array(repeating: UInt32(3), count: 3000)
    let recording = try ReportTests.recording([
      SyntheticChunk(open: open) { $0.call(3, from: Self.base + 1, to: Self.base + 6) }
    ])
    let indentation = String(repeating: " ", count: 512)
    #expect(
      graph(recording) == Self.header + " 0)   0.005 us    |  \(indentation)[3000] leaf();\n")
  }
}
