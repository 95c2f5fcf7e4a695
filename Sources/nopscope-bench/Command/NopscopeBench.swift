// SPDX-License-Identifier: Apache-2.0
//
// What measures and strains nopscope, and is no part of it: scripts/bench and scripts/soak build it
// and run it.

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
