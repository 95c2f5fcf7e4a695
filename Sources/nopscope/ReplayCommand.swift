// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Recording
import TraceAnalysis

struct ReplayCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay",
    abstract: "Print what ran, call by call, as ftrace does.",
    discussion: """
      The text of ftrace's function_graph or function tracer, all threads in the order of time. The \
      CPU is not recorded and reads 0; a change of thread is shown as ftrace shows a change of task. \
      A function that ended by an exception, longjmp or the thread's end closes with \
      } /* name unwound */, one whose entry is not in the recording with } /* name */. On a terminal \
      it goes through $PAGER (less).

      EXAMPLES
        nopscope replay
        nopscope replay build.data --tracer function
        nopscope replay --thread worker | grep -n parse_header

      EXIT STATUS
        0  the recording was read, be it in parts: what is damaged is told on stderr
        1  it cannot be read, or has no events: its tracer only counted
        64 the command line is wrong
      """)

  @OptionGroup var recording: RecordingArguments

  @Option(help: "The text of this tracer: function_graph or function. Default: the recording's.")
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
    let pager = Pager(isWanted: !noPager)
    let out = TextBuffer { pager.write($0) }
    let problems: [String]
    switch tracer ?? standard(opened) {
    case .functionGraph:
      problems = FunctionGraphText.write(
        opened, to: out, choosing: recording.isChosen,
        colours: isColoured ? .terminal : .none, shown: neutralised)
    case .function:
      let calls = Report(of: opened, choosing: recording.isChosen).calls
      problems = FunctionText.write(
        opened, calls: calls, to: out, choosing: recording.isChosen, shown: neutralised)
    }
    pager.finish()
    let all = opened.problems + problems + opened.symbolProblems
    complainOf(all, in: recording.directory)
    write(
      "\(counted(opened.threadCount, "thread")) of \(grouped(opened.processes.count)) process\(opened.processes.count == 1 ? "" : "es"); "
        + "\(grouped(Int(clamping: opened.lostEvents))) events lost\n", to: 2)
  }

  private func standard(_ opened: Recording) -> Format {
    opened.processes.contains { $0.tracer != .function } ? .functionGraph : .function
  }

  private func requireEvents(_ opened: Recording) throws {
    let threads = opened.processes.flatMap(\.threads)
    if threads.contains(where: { $0.chunkCount > 0 }) || threads.isEmpty { return }
    let tracer = opened.processes.compactMap(\.tracer).first?.name ?? "unknown"
    complain(
      "\(recording.directory): recorded with the tracer \(tracer), which counts and keeps no events: "
        + "try nopscope report or nopscope graph")
    throw ExitCode(1)
  }

  private var isColoured: Bool {
    let noColour = getenv("NO_COLOR").map { $0.pointee != 0 } ?? false
    let isDumb = getenv("TERM").map { String(cString: $0) == "dumb" } ?? true
    return !noColour && !isDumb && isatty(1) == 1
  }
}
