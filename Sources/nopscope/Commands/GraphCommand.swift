// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import RecordingReader
import TraceAnalysis

struct GraphCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "graph",
    abstract: "Show the merged call tree of a recording.",
    discussion: """
      One line stands for all calls of a function by the same chain of callers: their number, the \
      time in the function and what it called, the time in the function alone. The longest come \
      first.

      EXAMPLES
        nopscope graph
        nopscope graph build.data --depth 4 --minimum 1
        nopscope graph --json | jq '.tree.children[0]'

      EXIT STATUS
        0  the recording was read; stderr names the parts that are damaged
        1  it cannot be read
        64 the command line is wrong
      """)

  @OptionGroup var recording: RecordingArguments

  @Option(help: "Show only this many levels.")
  var depth: Int?

  @Option(help: "Leave out functions with less than this percentage of all time (or calls).")
  var minimum = 0.0

  @Flag(help: "Write one JSON document, schema nopscope.graph/1.")
  var json = false

  @Flag(name: .customLong("no-pager"), help: "Write to the terminal without a pager.")
  var noPager = false

  func validate() throws {
    if let depth, depth < 1 { throw ValidationError("--depth \(depth): expected 1 or more") }
  }

  func run() throws {
    let opened = try recording.open()
    let filter = try recording.filter(opened)
    if let tracer = opened.processes.compactMap(\.tracer).first, [.profile, .hits].contains(tracer)
    {
      complain("\(recording.directory): \(noCallers(tracer))")
      throw ExitCode(1)
    }
    tellLeftOut(opened)
    recording.tellChosen()
    let progress = Progress("reading \(recording.directory)")
    let tree = CallTree(
      of: opened, choosing: filter, deepest: depth ?? .max, progress: progress.show)
    progress.finish()
    let pager = Pager(isWanted: !noPager && !json, hasHeading: true)
    let text = GraphText(tree, minimum: minimum / 100)
    var out = PagedText(pager)
    if json { text.writeJSON(to: &out) } else { text.write(to: &out, width: outputWidth) }
    out.flush()
    pager.finish()
    let problems = opened.problems + tree.problems + opened.symbolProblems
    complainOf(problems, in: recording.directory)
    if filter.selectsCalls && tree.nodes.count == 1 { recording.tellNothingChosen() }
    if !json { write(graphClosing(tree, of: opened) + "\n", to: 2) }
  }
}
