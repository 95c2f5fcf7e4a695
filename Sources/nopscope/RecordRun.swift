// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CRecorder
import CommandOutput
import Glibc
import Recorder
import TextFormat

/// `nopscope record`, once its arguments are parsed: starts the recorder and prints what it did.
struct RecordRun {
  let settings: RecordSettings
  let words: [String]

  func run() throws -> TargetEnding {
    let clock = TraceClock()
    let options = try settings.options()
    do {
      let program = try TargetProgram(words[0], searchPath: environment("PATH"))
      guard let agent = AgentLibrary.find() else {
        complain(
          "\(AgentLibrary.name): expected it beside nopscope or in ../lib/nopscope, found none")
        throw ExitCode(125)
      }
      let limits = RunLimits.current
      try limits.check(options)
      let run = try RecordedRun(
        program, words: words, agent: agent, output: settings.output, options: options,
        source: SiteSource(cache: .standard(environment: environment)), clock: clock)
      run.server.whenSnapshot = { snapshot in
        for line in snapshotTexts(snapshot, most: options.snapshots.most) { complain(line) }
      }
      for line in limits.warnings(options) { complain(line) }
      if let line = AgentLibrary.missingTrampolines(beside: agent, for: options.tracer) {
        complain(line)
      }
      let ending = try run.run(whenWaiting: { complain(waitingText($0)) })
      RecordSummary(image: program.image, server: run.server, isQuiet: settings.isQuiet).print()
      if settings.requiresSites, run.server.moduleTotals.armed == 0 {
        complain("--require-sites: no function could be traced")
        throw ExitCode(125)
      }
      return ending
    } catch let error as TargetError {
      complain("\(error)")
      throw ExitCode(error.exitStatus)
    } catch let error as ExitCode {
      throw error
    } catch {
      complain("\(error)")
      throw ExitCode(125)
    }
  }
}

extension TargetEnding {
  /// Ends this process as the program ended.
  func passOn() throws {
    if case .signal(let signal) = self { nrc_die_of(signal) }
    if status != 0 { throw ExitCode(status) }
  }
}

/// The value of an environment variable; nil where it is not set.
func environment(_ name: String) -> String? {
  getenv(name).map { systemText($0) }
}
