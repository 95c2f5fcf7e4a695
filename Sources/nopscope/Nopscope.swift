// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

@main
struct Nopscope: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "nopscope",
    abstract: "A NOP until you look: dynamic ftrace for user space on x86-64 Linux.",
    discussion: """
      Turns the calls that -pg and -fpatchable-function-entry leave in every function into nops \
      and back, in a live process; records what ran, and shows what went wrong when a kernel first \
      did so.

      EXAMPLES
        nopscope record -- ./program arguments
        nopscope report
        nopscope demo
        nopscope sites libfoo.so
      """,
    subcommands: [
      RecordCommand.self, ReportCommand.self, ReplayCommand.self, GraphCommand.self,
      InfoCommand.self, DemoCommand.self, SitesCommand.self, RecordMcountCommand.self,
      AuditCommand.self, BenchCommand.self,
    ])
}
