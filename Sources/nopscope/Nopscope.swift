// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

@main
struct Nopscope: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "nopscope",
    abstract: "A NOP until you look: a function tracer that patches live x86-64 code.",
    subcommands: [DemoCommand.self, SitesCommand.self, RecordMcountCommand.self, AuditCommand.self])
}
