// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `nopscope open`, with a stand-in for the desktop's opener.
@Suite struct OpenCommandTests {
  private func recording() throws -> String {
    let chunk = SyntheticChunk { $0.call(0, from: 1_000_001, to: 1_000_009) }
    let module = SyntheticModule("/bin/x", functions: ["main"])
    return try SyntheticRecording(
      processes: [SyntheticProcess(modules: [module], chunks: [chunk])]
    ).write()
  }

  private func opener(_ script: String) throws -> String {
    let folder = try TemporaryFolder.shared.fresh("opener")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try "#!/bin/sh\n\(script)\n".write(
      toFile: folder + "/xdg-open", atomically: true, encoding: .utf8)
    try Tools.run("chmod", ["755", folder + "/xdg-open"])
    return folder
  }

  @Test("it writes the page beside the recording, and hands it to xdg-open")
  func opens() throws {
    let path = try recording()
    let folder = try opener("echo opened \"$1\"")
    let result = try runNopscope(
      ["open", path + "/"], environment: ["PATH": folder + ":/usr/bin:/bin"])
    #expect(result.ending == .exit(0))
    #expect(result.output == "opened \(path).html\n")
    let page = try String(contentsOfFile: path + ".html", encoding: .utf8)
    #expect(page.hasPrefix("<!DOCTYPE html>") && page.contains("[\"main\",\"/bin/x\",\"\"]"))
  }

  @Test(
    "--from, --to, --function and --min choose the calls of the page",
    arguments: [
      (["--from", "5ns"], ["late", "long"]), (["--to", "5ns"], ["early"]),
      (["--function", "late"], ["late"]), (["--min", "50ns"], ["long"]),
    ])
  func chosen(options: [String], expected: [String]) throws {
    let chunk = SyntheticChunk { encoder in
      encoder.call(0, from: 1_000_001, to: 1_000_009)
      encoder.call(1, from: 1_000_011, to: 1_000_019)
      encoder.call(2, from: 1_000_101, to: 1_000_199)
    }
    let module = SyntheticModule("/bin/x", functions: ["early", "late", "long"])
    let path = try SyntheticRecording(
      processes: [SyntheticProcess(modules: [module], chunks: [chunk])]
    ).write()
    let result = try runNopscope(["open", path] + options, environment: ["PATH": "/nowhere"])
    #expect(result.ending == .exit(0))
    let page = try String(contentsOfFile: path + ".html", encoding: .utf8)
    let found = module.functions.filter { page.contains("[\"\($0)\",\"/bin/x\"") }
    #expect(found == expected)
  }

  @Test("without a browser it says where the page is")
  func noBrowser() throws {
    let path = try recording()
    let page = path + "-own.html"
    let none = try runNopscope(["open", path, "-o", page], environment: ["PATH": "/nowhere"])
    #expect(none.ending == .exit(0))
    #expect(none.standardError.contains("\(page): no xdg-open in PATH: open it in a browser"))
    #expect(FileManager.default.fileExists(atPath: page))
    let folder = try opener("exit 3")
    let failed = try runNopscope(["open", path], environment: ["PATH": folder + ":/usr/bin:/bin"])
    #expect(failed.ending == .exit(0))
    #expect(failed.standardError.contains("xdg-open failed: open it in a browser"))
  }

  @Test("no recording: nothing is written")
  func missing() throws {
    let path = try TemporaryFolder.shared.fresh("nothing")
    let result = try runNopscope(["open", path])
    #expect(result.ending == .exit(1))
    #expect(!FileManager.default.fileExists(atPath: path + ".html"))
    #expect(try runNopscope(["open", path, "-o", "-"]).ending == .exit(64))
  }
}
