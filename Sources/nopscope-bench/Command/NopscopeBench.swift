// SPDX-License-Identifier: Apache-2.0
//
// Measures nopscope and tests it under load. It is not installed: scripts/bench and scripts/soak
// build it and run it.

import ArgumentParser
import CommandOutput

@main
struct NopscopeBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "nopscope-bench",
    abstract: "Measure nopscope's own speed on this machine, and put it under load.",
    subcommands: [PatchCommand.self, SoakCommand.self])
}

/// One line on stderr.
func complain(_ message: String) { complain(message, by: "nopscope-bench") }
