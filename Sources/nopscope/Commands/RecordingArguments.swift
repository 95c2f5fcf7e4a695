// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import FunctionNames
import Glibc
import RecordingReader
import TraceAnalysis

extension NameStyle: ExpressibleByArgument {}

/// Where `nopscope record` writes without -o.
let defaultRecording = "nopscope.data"

/// Opens a recording; where it cannot be read, says why and ends the command.
func openRecording(_ directory: String, _ names: NameStyle = .short) throws -> Recording {
  do {
    return try Recording(directory: directory, names: names)
  } catch {
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
    help: "Only threads of this id or name; may be given more than once.")
  var threads: [String] = []

  @Option(
    help: """
      How functions are named: short (Pool::run), full (Pool<int>::run(char*)) or linked (as in the \
      ELF file).
      """)
  var names = NameStyle.short

  func open() throws -> Recording { try openRecording(directory, names) }

  func isChosen(_ process: ProcessRecording, _ thread: ThreadRecording) -> Bool {
    threads.isEmpty || threads.contains(String(thread.id)) || threads.contains(thread.name)
  }

  /// Ends the command where `--thread` chooses no thread of the recording.
  func requireThreads(_ recording: Recording) throws {
    if threads.isEmpty { return }
    for process in recording.processes {
      for thread in process.threads where isChosen(process, thread) { return }
    }
    complain("\(directory): \(noSuchThread(threads, in: recording))")
    throw ExitCode(1)
  }
}
