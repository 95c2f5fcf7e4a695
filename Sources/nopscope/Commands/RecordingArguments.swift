// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import Filters
import FunctionNames
import Glibc
import RecordingReader
import TextFormat
import TraceAnalysis

extension NameStyle: ExpressibleByArgument {}

/// The help of `--names`.
let nameStyleHelp: ArgumentHelp = """
  How functions are named: short (Pool::run), full (Pool<int>::run(char*)) or linked (as in the ELF file).
  """

/// Where `nopscope record` writes without -o.
let defaultRecording = "nopscope.data"

/// Opens a recording; where it cannot be read, says why and ends the command.
func openRecording(_ directory: String, _ names: NameStyle = .short) throws -> Recording {
  let progress = Progress("opening \(directory)")
  defer { progress.finish() }
  do {
    return try Recording(directory: directory, names: names)
  } catch {
    progress.finish()
    complain("\(error)")
    throw ExitCode(1)
  }
}

/// How many rows a table has: what was asked for (0: all), else as many as a terminal shows well.
func shownRows(_ limit: Int?, isOnTerminal: Bool) -> Int { limit ?? (isOnTerminal ? 25 : 0) }

/// The arguments of every command that reads a recording.
struct RecordingArguments: ParsableArguments {
  @Argument(help: "A recording's directory.", completion: .directory)
  var directory = defaultRecording

  @Option(
    name: .customLong("thread"),
    help: "Only threads of this id, or whose name matches; may be given more than once.")
  var threads: [String] = []

  @Option(
    help: ArgumentHelp(
      """
      Only calls that began then or later: 1.5s after the recording's start, or 14:03:05.25 by the \
      clock.
      """, valueName: "time"))
  var from: TimePoint?

  @Option(help: ArgumentHelp("Only calls that began before: see --from.", valueName: "time"))
  var to: TimePoint?

  @Option(
    name: .customLong("function"),
    help: ArgumentHelp(
      """
      Only these functions and what they call: a rule as for record --filter; may be given more than \
      once.
      """, valueName: "rule"))
  var functions: [String] = []

  @Option(
    help: ArgumentHelp("Only calls that lasted so long or longer: 1ms.", valueName: "time"))
  var min: TimeSpan?

  @Option(help: nameStyleHelp)
  var names = NameStyle.short

  func open() throws -> Recording { try openRecording(directory, names) }

  private func isChosen(_ thread: ThreadRecording) -> Bool {
    threads.isEmpty || threads.contains(String(thread.id))
      || threads.contains { Glob($0).matches(thread.name) }
  }

  func validate() throws { _ = try rules() }

  private func rules() throws -> [FilterRule] {
    do {
      return try functions.flatMap { (text) throws(FilterError) in try FilterRule.parse(text) }
    } catch {
      throw ValidationError("--function: \(error)")
    }
  }

  /// What the options choose of a recording. Ends the command where it cannot be chosen.
  func filter(_ recording: Recording) throws -> ReadingFilter {
    try requireThreads(recording)
    var filter = ReadingFilter { _, thread in isChosen(thread) }
    filter.from = from?.sinceStart(of: recording)
    filter.to = to?.sinceStart(of: recording)
    filter.functions = try rules()
    filter.minimum = min.map { Int(clamping: $0.nanoseconds) }
    if filter.selectsCalls { try requireCalls(recording) }
    return filter
  }

  /// What the options left out: a line above each table.
  func tellChosen() {
    var parts: [String] = []
    if !threads.isEmpty { parts.append("of the threads \(threads.joined(separator: ", "))") }
    if let from { parts.append("that began at \(from.text) or later") }
    if let to { parts.append("that began before \(to.text)") }
    if !functions.isEmpty {
      parts.append("of \(functions.joined(separator: ", ")) and what it calls")
    }
    if let min { parts.append("of \(durationText(min.nanoseconds)) or more") }
    if parts.isEmpty { return }
    complain("\(directory): only calls \(parts.joined(separator: ", "))")
  }

  /// Counted calls have no times, and of functions alone no durations are known.
  func requireCalls(
    _ recording: Recording, for what: String = "--from, --to, --function and --min"
  ) throws {
    let tracers = Set(recording.processes.compactMap(\.tracer))
    if let tracer = tracers.first(where: { $0 != .functionGraph && $0 != .function }) {
      complain(
        "\(directory): \(what) choose single calls; the tracer "
          + "\(tracer.name) only counts them: record with --tracer function_graph")
      throw ExitCode(1)
    }
    if min != nil, tracers.contains(.function) {
      complain(
        "\(directory): --min needs how long calls lasted, which the tracer function does not record: "
          + "record with --tracer function_graph")
      throw ExitCode(1)
    }
  }

  /// Says that the options chose nothing.
  func tellNothingChosen() {
    let given = functions.isEmpty ? "" : ": nopscope report lists the functions"
    complain("\(directory): no call is as the options ask\(given)")
  }

  /// Ends the command where `--thread` chooses no thread of the recording.
  private func requireThreads(_ recording: Recording) throws {
    if threads.isEmpty { return }
    for process in recording.processes {
      for thread in process.threads where isChosen(thread) { return }
    }
    complain("\(directory): \(noSuchThread(threads, in: recording))")
    throw ExitCode(1)
  }
}
