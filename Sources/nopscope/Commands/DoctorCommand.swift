// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import Glibc
import Recorder

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Say what this machine and a program allow to be traced.",
    discussion: """
      Probes how text can be written and patched here, and lists the call sites of a program and \
      of the libraries that the loader loads with it, and where their functions' names come from: \
      the file's symbols, or a file of debug symbols. No part of the program runs.

      EXAMPLES
        nopscope doctor
        nopscope doctor ./program
        nopscope doctor ./program --json | jq '.modules[].reason'

      EXIT STATUS
        0  tracing works here, and the program has call sites
        1  it does not, or it has none
        64 the command line is wrong
      """)

  @Argument(help: "A program: a path, or a name in PATH.", completion: .file())
  var program: String?

  @Flag(help: "Write one JSON document, schema nopscope.doctor/1.")
  var json = false

  func run() throws {
    let machine = MachineReport()
    var report: ProgramReport?
    var refusal: String?
    if let program {
      let progress = Progress("searching \(program)")
      defer { progress.finish() }
      do {
        let target = try TargetProgram(program, searchPath: environment("PATH"))
        report = try ProgramReport(target)
      } catch {
        refusal = "\(error)"
      }
    }
    if json {
      try writeJSON(DoctorDocument(machine, report, refusal), schema: "doctor")
    } else {
      write(DoctorText(machine: machine, program: report).text, to: 1)
    }
    if let refusal { complain(refusal) }
    let isTraceable = report.map { $0.sites > 0 && $0.missing.isEmpty } ?? (refusal == nil)
    if machine.protocols.isEmpty || !isTraceable { throw ExitCode(1) }
  }
}
