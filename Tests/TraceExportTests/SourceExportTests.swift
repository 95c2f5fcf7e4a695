// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingReader
import TestSupport
import Testing

@testable import TraceExport

/// Where exports have the source lines of functions.
@Suite struct SourceExportTests {
  /// `main` has a line, `leaf` has none.
  private func recording() throws -> Recording {
    var module = SyntheticModule("/bin/app", functions: ["main", "leaf"])
    module.sources = [0: ("/src/a \"b\".c", 300)]
    let base: UInt64 = 1_000_000
    let chunk = SyntheticChunk { encoder in
      for time in [base, base + 100] {
        encoder.entry(0, at: time)
        encoder.call(1, from: time + 10, to: time + 20)
        encoder.exit(at: time + 50)
      }
    }
    let path = try SyntheticRecording(
      processes: [SyntheticProcess(modules: [module], chunks: [chunk])]
    ).write()
    return try Recording(directory: path)
  }

  private func document(_ format: ExportFormat) throws -> [String: Any] {
    let path = try export(try recording(), as: format).path
    return try jsonObject(try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  @Test("Chrome's slices have it in their arguments")
  func chrome() throws {
    let events = try #require(try document(.chrome)["traceEvents"] as? [[String: Any]])
    let sources = events.filter { $0["ph"] as? String == "B" }.map { event in
      (event["args"] as? [String: Any])?["source"] as? String
    }
    #expect(sources == ["/src/a \"b\".c:300", nil, "/src/a \"b\".c:300", nil])
  }

  @Test("speedscope's frames have their source file and line, or their module")
  func speedscope() throws {
    let shared = try #require(try document(.speedscope)["shared"] as? [String: Any])
    let frames = try #require(shared["frames"] as? [[String: Any]])
    #expect(frames.map { $0["file"] as? String } == ["/src/a \"b\".c", "/bin/app"])
    #expect(frames.map { $0["line"] as? Int } == [300, nil])
  }

  @Test("Perfetto's slices point to a location that their sequence has told once")
  func perfetto() throws {
    let path = try export(try recording(), as: .perfetto).path
    let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    var locations: [UInt64: String] = [:]
    var names: [UInt64: String] = [:]
    var begun: [String?] = []
    for packet in try ProtobufFields(bytes[...]).messages(1) {
      if let data = try packet.message(12) {
        for name in try data.messages(2) { names[name.number(1) ?? 0] = name.text(2) }
        for location in try data.messages(4) {
          let number = location.number(1) ?? 0
          #expect(locations[number] == nil)
          locations[number] = "\(location.text(2) ?? "?"):\(location.number(4) ?? 0)"
        }
      }
      guard let event = try packet.message(11), event.number(9) == 1 else { continue }
      begun.append(event.number(34).map { locations[$0] ?? "?" })
    }
    #expect(begun == ["/src/a \"b\".c:300", nil, "/src/a \"b\".c:300", nil])
  }

  @Test("a flame graph's functions have it, and its page shows it")
  func flamegraph() throws {
    let path = try export(try recording(), as: .flamegraph).path
    let text = try String(contentsOfFile: path, encoding: .utf8)
    #expect(text.contains(#"["main","/bin/app","/src/a \"b\".c:300"]"#))
    #expect(text.contains(#"["leaf","/bin/app",""]"#))
    #expect(text.contains("text.push(source(i))"))
  }
}
