// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Visits

struct AttachCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attach",
    abstract: "Record a process that runs already, and leave it as it was.",
    discussion: """
      Works on processes whose program or libraries were compiled with -pg, -pg -mfentry or \
      -fpatchable-function-entry=5. One of its threads is interrupted for about a millisecond; its \
      system call goes on. Ctrl-C, the end of --duration or the process's own end ends the \
      recording. Then every call site is what its file has, and all calls return as they would \
      have; the agent's library stays mapped, and nothing of it runs.

      The options and rules are those of record. Children that the process forks are recorded too; \
      programs that it starts are not.

      EXAMPLES
        nopscope attach 1234 --duration 10s
        nopscope attach $(pidof server) --filter 'handle_*'
        nopscope attach 1234 --tracer profile --output before

      EXIT STATUS
        0    the process was recorded, and is as it was before
        1    it was recorded, and something had to stay: the message says what
        125  it was not recorded, and nothing of it was changed
        64   the command line is wrong
      """)

  @OptionGroup var arguments: RecordArguments

  @Argument(help: "The process.")
  var pid: Int32

  func validate() throws {
    if pid <= 0 { throw ValidationError("expected a process number above 0, found \(pid)") }
  }

  func run() throws { try AttachRun(settings: arguments.settings, process: pid).run() }
}

struct DetachCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "detach",
    abstract: "Give a process back whose recorder was killed.",
    discussion: """
      nopscope attach and record end with what the process was. If they are killed (SIGKILL), the \
      process runs on with its call sites changed, and records nothing. This makes them what they \
      were.

      EXAMPLES
        nopscope detach 1234

      EXIT STATUS
        0    the process is as it was before
        1    something had to stay: the message says what
        125  the process cannot be given back
        64   the command line is wrong
      """)

  @Argument(help: "The process.")
  var pid: Int32

  func validate() throws {
    if pid <= 0 { throw ValidationError("expected a process number above 0, found \(pid)") }
  }

  func run() throws { try detach(pid) }
}
