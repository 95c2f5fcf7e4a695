// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CommandOutput
import Glibc
import Recorder
import Visits

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Say what this machine and a program allow to be traced.",
    discussion: """
      Probes how text can be written and patched here, and lists the call sites of a program and \
      of the libraries that the loader loads with it, and where their functions' names come from: \
      the file's symbols, or a file of debug symbols. No part of the program runs. With --pid it \
      says what nopscope attach would meet in a process, which is neither stopped nor changed.

      EXAMPLES
        nopscope doctor
        nopscope doctor --pid 1234
        nopscope doctor ./program
        nopscope doctor ./program --json | jq '.modules[].reason'

      EXIT STATUS
        0  tracing works here, and the program or the process can be traced
        1  it does not, or it has none
        64 the command line is wrong
      """)

  @Argument(help: "A program: a path, or a name in PATH.", completion: .file())
  var program: String?

  @Option(
    name: [.customShort("p"), .customLong("pid")],
    help: ArgumentHelp("A process that runs, and its program.", valueName: "pid"))
  var process: Int32?

  @Flag(help: "Write one JSON document, schema nopscope.doctor/1.")
  var json = false

  func validate() throws {
    guard let process else { return }
    if process <= 0 {
      throw ValidationError("--pid: expected a number above 0, found \(process)")
    }
    if let program {
      throw ValidationError("expected a program or --pid, found both: '\(program)'")
    }
  }

  /// What a visit would meet in a process.
  private func look(at process: Int32, _ refusal: inout String?) -> VisitOutlook? {
    do throws(VisitError) {
      return try VisitOutlook(of: process, agent: AgentLibrary.find() ?? AgentLibrary.name)
    } catch {
      refusal = "\(error)"
      return nil
    }
  }

  func run() throws {
    let machine = MachineReport()
    var report: ProgramReport?
    var refusal: String?
    var outlook: VisitOutlook?
    var program = program
    if let process {
      outlook = look(at: process, &refusal)
      program = outlook?.program
    }
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
      try writeJSON(DoctorDocument(machine, report, refusal, outlook), schema: "doctor")
    } else {
      write(DoctorText(machine: machine, program: report, outlook: outlook).text, to: 1)
    }
    if let refusal { complain(refusal) }
    let isTraceable = report.map { $0.sites > 0 && $0.missing.isEmpty } ?? (refusal == nil)
    if machine.protocols.isEmpty || !isTraceable { throw ExitCode(1) }
  }
}
