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
    abstract: "Print what ran, call by call.",
    discussion: """
      Prints all threads in the order of time: when, which thread, how long, which function. \
      --from, --to, --function, --min and --thread choose the calls. A function that ended by an \
      exception, longjmp or the thread's end closes with } /* name unwound */; one whose entry is \
      not in the recording closes with } /* name */. With --ftrace, the text is that of ftrace's \
      tracers, for programs that read it: the CPU is not recorded and reads 0. On a terminal the \
      text goes through $PAGER (less).

      EXAMPLES
        nopscope replay
        nopscope replay --function 'handle_*' --min 1ms
        nopscope replay --from 14:03:05 --to 14:03:06 --clock
        nopscope replay build.data --ftrace --thread 'work*' | grep -n parse_header

      EXIT STATUS
        0  the recording was read; stderr names the parts that are damaged
        1  it cannot be read, or its tracer only counted and kept no events
        64 the command line is wrong
      """)

  @OptionGroup var recording: RecordingArguments

  @Option(help: "Print as this tracer does: function_graph or function. Default: the recording's.")
  var tracer: Format?

  @Flag(help: "Print the text of ftrace's tracer, for programs that read it.")
  var ftrace = false

  @Flag(help: "Show the time of day instead of the seconds since the recording's start.")
  var clock = false

  @Flag(name: .customLong("no-pager"), help: "Write to the terminal without a pager.")
  var noPager = false

  enum Format: String, ExpressibleByArgument, CaseIterable {
    case functionGraph = "function_graph"
    case function
  }

  func validate() throws {
    if ftrace && clock { throw ValidationError("--ftrace and --clock: expected one of them") }
  }

  func run() throws {
    let opened = try recording.open()
    let filter = try recording.filter(opened)
    try requireEvents(opened)
    tellLeftOut(opened)
    recording.tellChosen()
    let format = tracer ?? standard(opened)
    let pager = Pager(isWanted: !noPager, hasHeading: format == .functionGraph && !ftrace)
    let out = TextBuffer { pager.write($0) }
    // No progress on a terminal that the text or the pager writes to.
    let meter = ReplayMeter(
      opened, isatty(1) == 1 ? nil : Progress("replaying \(recording.directory)"))
    let problems: [String]
    switch format {
    case .functionGraph:
      problems = FunctionGraphText.write(
        opened, to: out, choosing: filter,
        as: ftrace ? .ftrace : clock ? .ofDay : .sinceStart,
        colours: isOutputColoured ? .terminal : .none, shown: neutralised, progress: meter.passed)
    case .function:
      let counting = Progress("reading \(recording.directory)")
      let calls = Report(
        of: opened, choosing: filter, progress: counting.show
      ).calls
      counting.finish()
      problems = FunctionText.write(
        opened, calls: calls, to: out, choosing: filter, shown: neutralised,
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
