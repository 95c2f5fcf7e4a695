// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import Glibc

struct OpenCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "open",
    abstract: "Show a recording's flame graph in the browser.",
    discussion: """
      Writes one page of HTML beside the recording, DIR.html, and shows it with xdg-open. The page \
      needs no network. Search with /, zoom with a click or Enter, go back with Esc.

      EXAMPLES
        nopscope open
        nopscope open build.data --thread worker -o workers.html

      EXIT STATUS
        0  the page was written; if no browser could be started, stderr says so
        1  it was not written
        64 the command line is wrong
      """)

  @OptionGroup var recording: RecordingArguments

  @Option(
    name: [.short, .customLong("output")], help: "The page to write. Default: DIR.html.",
    completion: .file())
  var output: String?

  @Flag(help: "Count calls instead of nanoseconds.")
  var count = false

  func validate() throws {
    if output == "" || output == "-" { throw ValidationError("-o: expected a file's name") }
  }

  func run() throws {
    var directory = recording.directory
    while directory.count > 1, directory.hasSuffix("/") { directory.removeLast() }
    let page = output ?? directory + ".html"
    try export(recording, .flamegraph, page, count: count)
    guard let viewer = programInPath("xdg-open") else {
      return complain("\(page): no xdg-open in PATH: open it in a browser")
    }
    let (error, status) = runAndWait(viewer, ["xdg-open", page])
    if error != 0 || status != 0 { complain("\(page): xdg-open failed: open it in a browser") }
  }

  private func programInPath(_ name: String) -> String? {
    (environment("PATH") ?? "").split(separator: ":").map { "\($0)/\(name)" }
      .first { access($0, X_OK) == 0 }
  }
}
