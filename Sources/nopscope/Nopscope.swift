// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import Recorder
import TextFormat

@main
struct Nopscope: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "nopscope",
    abstract: "A NOP until you look: dynamic ftrace for user space on x86-64 Linux.",
    discussion: """
      Turns the calls that -pg and -fpatchable-function-entry leave in every function into nops \
      and back, in a live process; records what ran, and shows what went wrong when a kernel first \
      did so. A bare nopscope PROGRAM records into nopscope.data and shows the recording.

      EXAMPLES
        nopscope ./program arguments
        nopscope record -- ./program arguments
        nopscope report
        nopscope demo
        nopscope sites libfoo.so
      """,
    version: versionText,
    subcommands: [
      RecordCommand.self, AttachCommand.self, DetachCommand.self, ReportCommand.self,
      SlowCommand.self, DiffCommand.self,
      ReplayCommand.self,
      GraphCommand.self,
      InfoCommand.self, ExportCommand.self, OpenCommand.self, DoctorCommand.self, DemoCommand.self,
      SitesCommand.self, RecordMcountCommand.self, AuditCommand.self,
    ])

  static func main() {
    let words = Array(systemArguments().dropFirst())
    if words.first == RecordCommand.configuration.commandName {
      recordAtOnce(Array(words.dropFirst()))
    } else if BareProgram.isMeant(by: words, commands: commandNames) {
      BareProgram.run(words, commands: commandNames)
    }
    main(words)
  }

  /// Records without a look at the root and all other commands, which takes longer than the rest of
  /// a start. Returns where this is no right command line: the root's parser says why.
  private static func recordAtOnce(_ words: [String]) {
    do {
      if let line = PlainRecordLine(words) {
        try RecordRun(settings: line.settings, words: line.program).run().passOn()
      } else {
        guard let parsed = try? RecordCommand.parseAsRoot(words) as? RecordCommand else { return }
        try parsed.run()
      }
      exit()
    } catch let code as ExitCode {
      Glibc.exit(code.rawValue)  // exit(withError:) would build a message first, an empty one
    } catch {
      exit(withError: error)
    }
  }

  private static var commandNames: [String] {
    configuration.subcommands.map { $0.configuration.commandName ?? $0._commandName } + ["help"]
  }
}
