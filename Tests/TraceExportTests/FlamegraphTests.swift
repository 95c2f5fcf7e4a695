// SPDX-License-Identifier: Apache-2.0

import Foundation
import RecordingReader
import TestSupport
import Testing
import TraceAnalysis
import TraceExport

/// Flame graphs: what is in the page, and what a browser makes of it.
@Suite struct FlamegraphTests {
  private struct Page {
    var path: String
    var text: String
    /// By name: own nanoseconds or calls, and calls.
    var totals: [String: (own: Int, calls: Int)] = [:]
    var title = ""
    var left = 0
    var isWellNested = true
  }

  private func page(_ recording: Recording, _ weight: FoldedWeight? = nil) throws -> Page {
    let exported = try export(recording, as: .flamegraph, weight: weight).path
    let path = exported + ".html"  // as a browser wants it
    try FileManager.default.moveItem(atPath: exported, toPath: path)
    let text = try String(contentsOfFile: path, encoding: .utf8)
    var page = Page(path: path, text: text)
    let begin = try #require(text.range(of: "id=\"data\">"))
    let end = try #require(text.range(of: "</script>", range: begin.upperBound..<text.endIndex))
    let data = try jsonObject(Data(text[begin.upperBound..<end.lowerBound].utf8))
    page.title = try #require(data["title"] as? String)
    page.left = try #require(data["left"] as? Int)
    let functions = try #require(data["functions"] as? [[String]])
    let nodes = try #require(data["nodes"] as? [Int])
    #expect(nodes.count % 4 == 0 && nodes.prefix(4) == [0, 0, 0, 0])
    var depth = 0
    for start in stride(from: 4, to: nodes.count, by: 4) {
      page.isWellNested = page.isWellNested && (1...(depth + 1)).contains(nodes[start + 1])
      depth = nodes[start + 1]
      let name = functions[nodes[start]][0]
      let before = page.totals[name] ?? (0, 0)
      page.totals[name] = (before.own + nodes[start + 3], before.calls + nodes[start + 2])
    }
    return page
  }

  @Test("self times and calls add up to report's", arguments: [1, 2] as [UInt64])
  func equalsReport(seed: UInt64) throws {
    let recording = try ExportRecordings.random(seed: seed)
    let times = try page(recording)
    let calls = try page(recording, .calls)
    #expect(times.isWellNested && calls.isWellNested && times.left == 0)
    for row in Report(of: recording).rows {
      #expect(times.totals[row.label]?.own == row.times?.selfTime ?? 0, "\(row.label)")
      #expect(times.totals[row.label]?.calls == Int(row.calls))
      #expect(calls.totals[row.label]?.own == Int(row.calls))
    }
    let counted = try page(try ExportRecordings.of(tracer: "callgraph"))
    #expect(counted.totals["next_token"]?.own == 304)
  }

  private static let hostile = "</script><img src=x onerror=alert(1)>\u{1}&\"\\"

  private func hostileRecording() throws -> Recording {
    let module = SyntheticModule("/bin/x", functions: ["main", Self.hostile, "leaf"])
    let chunk = SyntheticChunk { encoder in
      encoder.entry(0, at: 1_000_000)
      encoder.call(1, from: 1_000_100, to: 1_000_350)
      encoder.call(2, from: 1_000_400, to: 1_000_900)
      encoder.exit(at: 1_001_000)
    }
    return try ExportRecordings.open([SyntheticProcess(modules: [module], chunks: [chunk])])
  }

  @Test("a name cannot end the data or become a part of the page, which loads nothing")
  func hostileNames() throws {
    let page = try page(try hostileRecording())
    #expect(page.totals[Self.hostile]?.own == 250)
    #expect(!page.text.contains("<img"))
    #expect(page.text.components(separatedBy: "</script>").count == 3)
    #expect(page.text.contains("default-src 'none'"))
    #expect(!page.text.contains("http://") && !page.text.contains("https://"))
    #expect(page.title == "./program argument")
  }

  @Test("frames of less than a millionth of all are counted, not written")
  func tiny() throws {
    let module = SyntheticModule("/bin/x", functions: ["main", "tiny"])
    let chunk = SyntheticChunk { encoder in
      encoder.entry(0, at: 1_000_000)
      encoder.call(1, from: 1_000_100, to: 1_000_101)
      encoder.exit(at: 5_000_000)
    }
    let page = try page(
      try ExportRecordings.open([SyntheticProcess(modules: [module], chunks: [chunk])]))
    #expect(page.left == 1)
    #expect(page.totals["tiny"] == nil)
  }

  static let browser = Tools.find("chromium") ?? Tools.find("google-chrome")

  @Test(
    "a browser shows it: the whole, what is searched, and a frame that is zoomed to",
    .enabled(if: browser != nil, "no Chromium is here"))
  func inBrowser() throws {
    let page = try page(try hostileRecording())
    func shown(_ state: String) throws -> String {
      let profile = try TemporaryFolder.shared.fresh("browser")
      return try runChild(
        #require(Self.browser),
        [
          "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=\(profile)",
          "--dump-dom", "file://\(page.path)\(state)",
        ], timeoutSeconds: 60
      ).output
    }
    func text(_ id: String, _ document: String) -> String? {
      document.firstMatch(of: try! Regex("id=\"\(id)\"[^>]*>([^<]*)<"))?[1].substring
        .map(String.init)
    }
    let whole = try shown("")
    #expect(text("title", whole) == "./program argument")
    #expect(text("sum", whole) == "time: 1.000 us")
    #expect(text("now", whole)?.hasPrefix("all \u{2013} 1.000 us in all (100.00%)") == true)
    let searched = try shown("#search=LEA")
    #expect(text("found", searched) == "50.00% in 1 frame")
    #expect(text("found", try shown("#search=/^ma.n$/")) == "100.00% in 1 frame")
    let zoomed = try shown("#frame=2")
    #expect(text("now", zoomed)?.hasPrefix("leaf \u{2013} 500 ns in all (50.00%)") == true)
    #expect(try shown("#frame=3").contains("&lt;/script&gt;&lt;img src=x"))
  }
}
