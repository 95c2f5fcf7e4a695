// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import Glibc
import RecordingReader
import TraceAnalysis

/// Where `nopscope record` writes without -o.
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
    let wanted = threads.joined(separator: ", ")
    complain("\(directory): no thread \(wanted); the recording has \(some)")
    throw ExitCode(1)
  }
}
