// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import Glibc
import RecordingReader
import TextFormat
import TraceAnalysis

struct ReplayCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay",
    abstract: "Print what ran, call by call, as ftrace does.",
    discussion: """
      Prints the text of ftrace's function_graph or function tracer, all threads in the order of \
      time. The CPU is not recorded and reads 0; a change of thread is shown as ftrace shows a \
      change of task. A function that ended by an exception, longjmp or the thread's end closes \
      with } /* name unwound */; one whose entry is not in the recording closes with } /* name */. \
      On a terminal the text goes through $PAGER (less).

      EXAMPLES
        nopscope replay
        nopscope replay build.data --tracer function
        nopscope replay --thread worker | grep -n parse_header

      EXIT STATUS
        0  the recording was read; stderr names the parts that are damaged
        1  it cannot be read, or its tracer only counted and kept no events
        64 the command line is wrong
      """)

  @OptionGroup var recording: RecordingArguments

  @Option(help: "Print as this tracer does: function_graph or function. Default: the recording's.")
  var tracer: Format?

  @Flag(name: .customLong("no-pager"), help: "Write to the terminal without a pager.")
  var noPager = false

  enum Format: String, ExpressibleByArgument, CaseIterable {
    case functionGraph = "function_graph"
    case function
  }

  func run() throws {
    let opened = try recording.open()
    try recording.requireThreads(opened)
    try requireEvents(opened)
    tellLeftOut(opened)
    let pager = Pager(isWanted: !noPager)
    let out = TextBuffer { pager.write($0) }
    // No progress on a terminal that the text or the pager writes to.
    let meter = ReplayMeter(
      opened, isatty(1) == 1 ? nil : Progress("replaying \(recording.directory)"))
    let problems: [String]
    switch tracer ?? standard(opened) {
    case .functionGraph:
      problems = FunctionGraphText.write(
        opened, to: out, choosing: recording.isChosen,
        colours: isOutputColoured ? .terminal : .none, shown: neutralised, progress: meter.passed)
    case .function:
      let counting = Progress("reading \(recording.directory)")
      let calls = Report(
        of: opened, choosing: recording.isChosen, progress: counting.show
      ).calls
      counting.finish()
      problems = FunctionText.write(
        opened, calls: calls, to: out, choosing: recording.isChosen, shown: neutralised,
        progress: meter.passed)
    }
    meter.finish()
    pager.finish()
    let all = opened.problems + problems + opened.symbolProblems
    complainOf(all, in: recording.directory)
    write(replayClosing(opened) + "\n", to: 2)
  }

  private func standard(_ opened: Recording) -> Format {
    opened.processes.contains { $0.tracer != .function } ? .functionGraph : .function
  }

  private func requireEvents(_ opened: Recording) throws {
    let threads = opened.processes.flatMap(\.threads)
    if threads.contains(where: { $0.chunkCount > 0 }) || threads.isEmpty { return }
    complain("\(recording.directory): \(noEvents(opened))")
    throw ExitCode(1)
  }
}
