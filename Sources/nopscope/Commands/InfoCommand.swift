// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import RecordingReader
import TraceAnalysis

struct InfoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "info",
    abstract: "Show what a recording contains, and what is missing.",
    discussion: """
      Shows command, tracer, processes, threads and modules; the number of calls and the bytes they \
      take; what was lost, is damaged or was never closed. A call site of a module is armed, or the \
      rules left it out, or it could not be armed. What only looked like a call site was skipped. \
      The reasons are shown.

      EXAMPLES
        nopscope info
        nopscope info build.data --json | jq .bytesPerCall

      EXIT STATUS
        0  the recording was read; stderr names the parts that are damaged
        1  it cannot be read
        64 the command line is wrong
      """)

  @Argument(help: "A recording's directory.", completion: .directory)
  var directory = defaultRecording

  @Flag(help: "Write one JSON document, schema nopscope.info/1.")
  var json = false

  func run() throws {
    let opened = try openRecording(directory)
    let progress = Progress("reading \(directory)")
    let report = CallCount(of: opened, progress: progress.show)
    progress.finish()
    if json {
      try writeJSON(InfoDocument(opened, report), schema: "info")
    } else {
      write(infoText(opened, report), to: 1)
    }
    complainOf(report.problems, in: directory)
  }
}
