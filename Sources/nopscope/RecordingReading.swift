// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import RecordingReader
import TraceAnalysis

/// Where `nopscope record` writes when it is not told.
let defaultRecording = "nopscope.data"

/// The arguments of every command that reads a recording.
struct RecordingArguments: ParsableArguments {
  @Argument(help: "A recording's directory.", completion: .directory)
  var directory = defaultRecording

  @Option(
    name: .customLong("thread"),
    help: "Only threads of this id or name; may be given more than once.")
  var threads: [String] = []

  func open() throws -> Recording {
    do {
      return try Recording(directory: directory)
    } catch {
      complain("\(error)")
      throw ExitCode(1)
    }
  }

  func isChosen(_ process: ProcessRecording, _ thread: ThreadRecording) -> Bool {
    threads.isEmpty || threads.contains(String(thread.id)) || threads.contains(thread.name)
  }

  /// Says so where no thread is chosen, and which there are.
  func requireThreads(_ recording: Recording) throws {
    if threads.isEmpty { return }
    for process in recording.processes {
      for thread in process.threads where isChosen(process, thread) { return }
    }
    let known = Set(recording.processes.flatMap(\.threads).map { "\($0.id) (\($0.name))" }).sorted()
    let some = known.prefix(8).joined(separator: ", ") + (known.count > 8 ? ", …" : "")
    complain("\(directory): no thread \(threads.joined(separator: ", ")): it has \(some)")
    throw ExitCode(1)
  }
}

/// What was wrong and worth knowing, on stderr: the first of each.
func complainOf(_ problems: [String], in directory: String, most: Int = 10) {
  for problem in problems.prefix(most) { complain("\(directory): \(problem)") }
  if problems.count > most {
    complain("\(directory): \(grouped(problems.count - most)) more of the kind")
  }
}

/// A line on stderr that is written over, when it is a terminal and the work takes its second.
final class Progress {
  private let isShown = isatty(2) == 1
  private let start = ContinuousClock.now
  private var last: ContinuousClock.Instant?
  private let what: String

  init(_ what: String) { self.what = what }

  func show(_ fraction: Double) {
    guard isShown else { return }
    let now = ContinuousClock.now
    if now - start < .seconds(1) || last.map({ now - $0 < .milliseconds(100) }) == true { return }
    last = now
    write("\r\(what): \(Int(fraction * 100)) %\u{1b}[K", to: 2)
  }

  func finish() {
    if last != nil { write("\r\u{1b}[K", to: 2) }
    last = nil
  }
}

/// `1 thread`, `2 threads`.
func counted(_ number: Int, _ noun: String) -> String {
  "\(grouped(number)) \(noun)\(number == 1 ? "" : "s")"
}
