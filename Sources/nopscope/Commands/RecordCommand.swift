// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Recorder

struct RecordCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "record",
    abstract: "Run a program and record the functions it calls.",
    usage: "nopscope record [OPTION]... [--] PROGRAM [ARGUMENT]...",
    discussion: """
      Works on programs and libraries compiled with -pg, -pg -mfentry or \
      -fpatchable-function-entry=5, and leaves their files unchanged. Functions that the rules leave \
      out stay nops while the program runs. Children are recorded too.

      Rules have ftrace's grammar: a name, a pattern with * ? [ ], a leading ! to remove, \
      :mod:LIBRARY for a library's functions. The last rule that matches decides. --thread chooses \
      threads by name in the same way; other threads record nothing. When a thread changes its \
      name, the rules decide again. C++ functions go by their source names or their linked ones.

      EXAMPLES
        nopscope record -- ./program input.txt
        nopscope record --filter 'parse_*' --filter '!parse_comment' ./program
        nopscope record --tracer profile --notrace ':mod:libz' ./program
        nopscope record --thread 'worker*' --thread '!worker-9' ./server
        nopscope record --quiet --require-sites ./test
        nopscope record --graph handle_request --threshold 10us ./server
        nopscope record --overwrite 16M --snapshot-on 'handle_request>5ms' ./server
        nopscope record --overwrite 16M --snapshot-signal USR2 ./server
        nopscope record --args 'handle_*' --args 'sum(int a) -> int' ./server
        nopscope record --delay 10s --duration 5s ./server
        nopscope record --pid 1234 --duration 10s
        nopscope record --start-on serve --stop-on 'shut_down*' ./server

      EXIT STATUS
        the program's own; if a signal ended the program, the same signal ends
        nopscope
        125  the program was not run, or --require-sites found nothing to trace
        126  it cannot be run
        127  it was not found
        64   the command line is wrong
      """)

  @OptionGroup var arguments: RecordArguments

  @Option(
    name: [.customShort("p"), .customLong("pid")],
    help: ArgumentHelp("Record a process that runs, as nopscope attach does.", valueName: "pid"))
  var process: Int32?

  @Argument(
    parsing: .captureForPassthrough,
    help: ArgumentHelp("The program to run, with its arguments.", valueName: "program"),
    completion: .file())
  var command: [String] = []

  /// The program and its arguments, without the `--` before them.
  private var words: [String] { command.first == "--" ? Array(command.dropFirst()) : command }

  func validate() throws {
    if command.first == "-h" || command.first == "--help" {
      throw CleanExit.helpRequest(RecordCommand.self)
    }
    if command.first == "--version" { throw CleanExit.message(versionText) }
    if let first = command.first, first != "--", first.hasPrefix("-") {
      throw ValidationError("Unknown option '\(first)'")
    }
    if let process {
      if process <= 0 {
        throw ValidationError("--pid: expected a number above 0, found \(process)")
      }
      if let word = words.first {
        throw ValidationError("expected a program or --pid, found both: '\(word)'")
      }
      return
    }
    if words.isEmpty {
      throw ValidationError("expected a program to run: nopscope record -- PROGRAM [ARGUMENT]...")
    }
  }

  func run() throws {
    if let process { return try AttachRun(settings: arguments.settings, process: process).run() }
    try record().passOn()
  }

  func record() throws -> TargetEnding {
    try RecordRun(settings: arguments.settings, words: words).run()
  }
}
