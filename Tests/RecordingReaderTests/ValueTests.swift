// SPDX-License-Identifier: Apache-2.0

import CRecordingABI
import Foundation
import RecordingSchema
import TestSupport
import Testing

@testable import RecordingReader

/// Events VALUES and files of signatures: what is whole is shown, what is damaged is not, nothing crashes.
@Suite struct ValueTests {
  /// The calls of the first thread that have values.
  private func calls(_ path: String, wantsValues: Bool = true) throws -> [String] {
    let process = try #require(try Recording(directory: path).processes.first)
    var cursor = try #require(process.threads.first).cursor()
    cursor.wantsValues = wantsValues
    var calls: [String] = []
    while let event = cursor.next() {
      guard cursor.hasValues, let values = cursor.takeValues(of: event),
        let signature = process.signature(UInt64(values.function))
      else { continue }
      switch values.moment {
      case .entry:
        calls.append(signature.arguments(values).map(\.text).joined(separator: ", "))
      case .exit: calls.append(signature.result(values)?.text ?? "nothing")
      }
    }
    return calls
  }

  private static let whole = [
    #"id=42, name="alice", mode=FAST, d=2.5, p=0x7fff00001000, s={…}"#, "0",
    #"id=-1, name="b\"\n"…, mode=9, d=?, p=0x7fff00001000, s={…}"#, "-1",
  ]

  @Test("values have the names and types of their function's signature")
  func shown() throws {
    let path = try SyntheticRecording.withValues().write()
    #expect(try calls(path) == Self.whole)
    #expect(try calls(path, wantsValues: false) == [])
    #expect(try Recording(directory: path).symbolProblems == [])
  }

  /// Other readers get the same events as if there were no values.
  @Test("events are the same with and without values")
  func skipped() throws {
    let process = try #require(
      try Recording(directory: SyntheticRecording.withValues().write()).processes.first)
    var kinds: [Event.Kind] = []
    let problems = try #require(process.threads.first).forEachEvent { kinds.append($0.kind) }
    #expect(problems == [])
    #expect(
      kinds == [.chunk, .entry, .entry, .entry, .exit, .exit, .entry, .entry, .exit, .exit, .exit])
  }

  @Test("texts of every length are whole, chunk after chunk")
  func everyLength() throws {
    let base: UInt64 = 1_000_000
    var module = SyntheticModule("/bin/app", functions: ["f"])
    module.signatures = "nopscope.args 1 0 1\n0\t-\ts\tt\n"
    let texts = (0..<590).map { String(repeating: "x", count: $0 % 97) }
    let chunks = (0..<3).map { number in
      SyntheticChunk(sequence: UInt32(number), baseTime: base) { encoder in
        for text in texts {
          encoder.values(0, moment: 0, [UInt8(text.utf8.count)] + Array(text.utf8))
          encoder.call(0, from: base + 1, to: base + 2)
        }
      }
    }
    let path = try SyntheticRecording(
      processes: [SyntheticProcess(modules: [module], chunks: chunks)]
    ).write()
    #expect(try calls(path) == (0..<3).flatMap { _ in texts.map { "t=\"\($0)\"" } })
  }

  @Test("values that are cut off end the chunk, at every length")
  func truncated() throws {
    let base: UInt64 = 1_000_000
    var module = SyntheticModule("/bin/app", functions: ["f"])
    module.signatures = "nopscope.args 1 0 1\n0\t-\ts\tt\n"
    var encoder = EventEncoder(baseTime: base)
    encoder.values(0, moment: 0, [10] + Array("0123456789".utf8))
    let event = encoder.bytes
    for length in 1..<event.count {
      let chunk = SyntheticChunk { encoder in
        encoder.call(0, from: base + 1, to: base + 2)
        encoder.raw(Array(event.prefix(length)))
      }
      let path = try SyntheticRecording(
        processes: [SyntheticProcess(modules: [module], chunks: [chunk])]
      ).write()
      let recording = try Recording(directory: path)
      var kinds: [Event.Kind] = []
      let problems = try #require(recording.processes.first?.threads.first)
        .forEachEvent { kinds.append($0.kind) }
      #expect(kinds == [.chunk, .entry, .exit], "\(length)")
      #expect(
        problems.count == 1 && problems[0].hasSuffix("the last event is cut off"), "\(problems)")
      #expect(try calls(path) == [])
    }
  }

  @Test("values that another event follows than their call's are nobody's")
  func separated() throws {
    let base: UInt64 = 1_000_000
    var module = SyntheticModule("/bin/app", functions: ["f", "g"])
    module.signatures = "nopscope.args 1 0 2\n0\ti1\ti1\tn\n1\ti1\ti1\tn\n"
    let chunk = SyntheticChunk { encoder in
      encoder.values(0, moment: 0, [1, 1])
      encoder.entry(1, at: base + 1)  // another function
      encoder.values(0, moment: 0, [1, 2])
      encoder.lost(1)
      encoder.entry(0, at: base + 2)
      encoder.values(0, moment: 1, [1, 3])
      encoder.unwound(1)
      encoder.values(1, moment: 1, [1, 4])
      encoder.entry(0, at: base + 3)
      encoder.values(0, moment: 9, [1, 5])  // no moment
      encoder.exit(at: base + 4)
      encoder.values(1, moment: 0, [1, 6])  // a time between them is theirs
      encoder.entry(1, at: base + 100_000_000)
    }
    let path = try SyntheticRecording(
      processes: [SyntheticProcess(modules: [module], chunks: [chunk])]
    ).write()
    #expect(try calls(path) == ["n=6"])
  }

  /// What a VALUES may hold that the signature does not expect: the value and the arguments behind.
  static let wrongBytes: [([UInt8], String)] = [
    ([], "n=?, t=?"),
    ([2, 1, 2], "n=?, t=?"),
    ([4, 1, 0, 0], "n=?, t=?"),
    ([4, 1, 0, 0, 0], "n=1, t=?"),
    ([4, 1, 0, 0, 0, 9, 65], "n=1, t=?"),
    ([4, 1, 0, 0, 0, 0xfe], "n=1, t=NULL"),
    ([0xfe, 1, 65], "n=?, t=\"A\""),
    ([0xff, 0x82, 0xc3, 0xbc, 1, 2, 3], "n=?, t=\"ü\"…"),
    ([0xff, 0x82, 65, 0xc3], "n=?, t=\"A\"…"),
    ([0xff, 3, 0xc2, 0x9b, 0xff], "n=?, t=\"\\xc2\\x9b\\xff\""),
    ([0x84, 1, 0, 0, 0, 0], "n=1, t=\"\""),
  ]

  @Test("bytes that do not fit the types are not read as them", arguments: wrongBytes)
  func mismatched(bytes: [UInt8], text: String) throws {
    let function = FunctionSignature(
      parameters: [
        .init(name: "n", type: .integer(bytes: 4, isSigned: true)), .init(name: "t", type: .text),
      ], result: nil)
    let values = RecordedValues(function: 0, moment: .entry, bytes: bytes)
    let shown = CallSignature(function, of: SignatureFile()).arguments(values)
    #expect(shown.map(\.text).joined(separator: ", ") == text)
  }

  static let types: [(ValueType, [UInt8], String)] = [
    (.integer(bytes: 1, isSigned: true), [0x80], "-128"),
    (.integer(bytes: 1, isSigned: false), [0x80], "128"),
    (.integer(bytes: 2, isSigned: true), [0, 0x80], "-32768"),
    (.integer(bytes: 8, isSigned: true), [0, 0, 0, 0, 0, 0, 0, 0x80], "\(Int64.min)"),
    (.integer(bytes: 8, isSigned: false), Array(repeating: 0xff, count: 8), "\(UInt64.max)"),
    (.character, [0x27], "'\\''"), (.character, [0x22], "'\"'"), (.character, [0x80], "'\\x80'"),
    (.boolean, [0], "false"), (.boolean, [1], "true"), (.boolean, [2], "2"),
    (.float(bytes: 4), [0, 0, 0xc0, 0x7f], "nan"), (.float(bytes: 4), [0, 0, 0, 0x3f], "0.5"),
    (.pointer, [0, 0, 0, 0, 0, 0, 0, 0], "0x0"),
  ]

  @Test("numbers have their sizes and signs", arguments: types)
  func numbers(type: ValueType, bytes: [UInt8], text: String) throws {
    let values = RecordedValues(
      function: 0, moment: .exit, bytes: [UInt8(bytes.count)] + bytes)
    let function = FunctionSignature(parameters: [], result: type)
    #expect(CallSignature(function, of: SignatureFile()).result(values)?.text == text)
  }

  @Test("a file of signatures that is damaged leaves out what is wrong, and says so once")
  func damagedFile() throws {
    let lines: [(text: String, problems: Int, hasFunction: Bool)] = [
      ("", 1, false), ("nopscope.args 2 0 0\n", 1, false), ("nopscope.args 1 -1 0\n", 1, false),
      ("nopscope.args 1 99999999999 1\n0\ti4\n", 1, false),
      ("nopscope.args 1 0 2\n0\ti3\n1\ti4\ti4\tn\n", 1, true),
      ("nopscope.args 1 0 2\n1\ti4\n", 1, true),
      ("nopscope.args 1 0 1\n1\te4:0\te4:7\tn\n", 1, false),
      ("nopscope.args 1 0 1\n1\ti4\ti4\n", 1, false),
      ("nopscope.args 1 0 1\n-1\ti4\n", 1, false),
      ("nopscope.args 1 1 1\nA=x\t=\tB=1\n1\te4:0\n", 0, true),
    ]
    for (text, problems, hasFunction) in lines {
      var synthetic = SyntheticRecording.withValues()
      synthetic.processes[0].modules[0].signatures = text
      let recording = try Recording(directory: synthetic.write())
      let process = try #require(recording.processes.first)
      #expect((process.signature(1) != nil) == hasFunction, "\(text)")
      #expect(recording.symbolProblems.count == problems, "\(text) \(recording.symbolProblems)")
      #expect(recording.symbolProblems.allSatisfy { $0.contains(".args: ") })
    }
  }

  @Test("every type is read as it is written")
  func roundTrip() throws {
    var file = SignatureFile()
    var names = Enumeration()
    names.add("A=B", -1)
    names.add("C", 2)
    file.enumerations = [names]
    let types: [ValueType] =
      [1, 2, 4, 8].flatMap { bytes in
        [true, false].flatMap { isSigned in
          [
            ValueType.integer(bytes: bytes, isSigned: isSigned),
            .enumeration(bytes: bytes, isSigned: isSigned, index: 0),
          ]
        }
      } + [
        .character, .boolean, .float(bytes: 4), .float(bytes: 8), .pointer, .text, .string,
        .structure, .unknown,
      ]
    for (site, type) in types.enumerated() {
      file.functions[UInt32(site)] = FunctionSignature(
        parameters: [.init(name: "n", type: type), .init(name: "", type: type)], result: type)
    }
    file.functions[99] = FunctionSignature(parameters: [], result: nil)
    var wrong = 0
    #expect(SignatureFile(file.bytes, wrong: &wrong) == file)
    #expect(wrong == 0)
  }
}
