// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

@main
struct Nopscope: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "nopscope",
    abstract: "A NOP until you look: dynamic ftrace for user space on x86-64 Linux.",
    discussion: """
      Turns the calls that -pg and -fpatchable-function-entry leave in every function into nops \
      and back, in a live process, and shows what went wrong when a kernel first did so.

      EXAMPLES
        nopscope demo
        nopscope sites libfoo.so
        nopscope demo --library ./libfoo.so --call some_function
      """,
    subcommands: [
      RecordCommand.self, DemoCommand.self, SitesCommand.self, RecordMcountCommand.self,
      AuditCommand.self, ReportCommand.self,
      BenchCommand.self,
    ])
}
