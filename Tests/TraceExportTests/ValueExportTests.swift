// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingReader
import TestSupport
import Testing

@testable import TraceExport

/// Where exports have arguments and results.
@Suite struct ValueExportTests {
  private func exported(_ format: ExportFormat) throws -> String {
    let path = try SyntheticRecording.withValues().write()
    return try export(try Recording(directory: path), as: format).path
  }

  @Test("Chrome's slices have them, numbers as numbers")
  func chrome() throws {
    let path = try exported(.chrome)
    let document = try jsonObject(try Data(contentsOf: URL(fileURLWithPath: path)))
    let events = try #require(document["traceEvents"] as? [[String: Any]])
    func values(_ key: String) -> [Any] {
      events.filter { $0["ph"] as? String != "M" }
        .compactMap { ($0["args"] as? [String: Any])?[key] }
    }
    let arguments = values("arguments").compactMap { $0 as? [String: Any] }
    #expect(arguments.map { $0["id"] as? Int } == [42, -1])
    #expect(arguments.map { $0["name"] as? String } == ["alice", "\"b\\\"\\n\"…"])
    #expect(arguments.map { $0["mode"] as? String } == ["FAST", "9"])
    #expect(arguments.map { $0["d"] as? Double } == [2.5, nil])
    #expect(arguments.map { $0["p"] as? String } == ["0x7fff00001000", "0x7fff00001000"])
    #expect(values("return").map { $0 as? Int } == [0, -1])
  }

  @Test("Perfetto's slices have them as annotations")
  func perfetto() throws {
    let trace = try PerfettoTrace(path: try exported(.perfetto))
    #expect(trace.returned.map { $0.number(4) } == [0, UInt64(bitPattern: -1)])
    #expect(
      trace.arguments.map { $0.map { $0.text(10) } }.first == ["id", "name", "mode", "d", "p", "s"])
    #expect(trace.arguments.map { $0[0].number(4) } == [42, UInt64(bitPattern: -1)])
    #expect(trace.arguments.map { $0[1].text(6) } == ["alice", "\"b\\\"\\n\"…"])
    #expect(trace.arguments.map { $0[3].number(5) } == [(2.5).bitPattern, nil])
    #expect(trace.arguments[1][3].text(6) == "?")
    #expect(trace.arguments[0][4].number(7) == 0x7fff_0000_1000)
  }

  @Test("the other formats have the same calls without them", arguments: [ExportFormat.speedscope])
  func others(format: ExportFormat) throws {
    let text = try String(contentsOfFile: try exported(format), encoding: .utf8)
    #expect(!text.contains("alice") && text.contains("handle"))
  }

  @Test("arguments of one name, or of none, have keys of their own")
  func keys() {
    let one = CallValue.integer(1)
    let arguments = ["a", "", "a", ""].map { CallArgument(name: $0, value: one) }
    #expect(keyed(arguments).map(\.key) == ["a", "2", "3", "4"])
  }

  @Test("JSON's numbers are exact, or texts")
  func exact() {
    func json(_ value: CallValue) -> String { String(decoding: jsonBytes(value), as: UTF8.self) }
    #expect(json(.unsigned(UInt64.max)) == "\"18446744073709551615\"")
    #expect(json(.integer(Int64.min)) == "\"\(Int64.min)\"")
    #expect(json(.integer(-5)) == "-5")
    #expect(json(.real(.nan)) == "\"nan\"")
    #expect(json(.unreadable) == "\"?\"")
  }
}
