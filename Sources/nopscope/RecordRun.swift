// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import CRecorder
import CommandOutput
import Glibc
import Recorder

/// One run of a program under the recorder's eyes.
struct RecordRun {
  let settings: RecordSettings
  let words: [String]

  func run() throws -> TargetEnding {
    let clock = TraceClock()
    let options = try settings.options()
    nrc_ignore_file_size_signal()
    do {
      let program = try TargetProgram(words[0], searchPath: environment("PATH"))
      guard let agent = AgentLibrary.find() else {
        complain("libNopscopeAgent.so: expected it beside nopscope or in ../lib, found none")
        throw ExitCode(125)
      }
      let folder = try RecordingFolder(path: settings.output)
      let server: RecordServer
      do {
        server = try RecordServer(
          folder: folder, command: words, options: options,
          source: SiteSource(cache: .standard(environment: environment)), clock: clock)
      } catch {
        folder.discard()
        throw error
      }
      return try follow(program, agent, server, folder)
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

  private func follow(
    _ program: TargetProgram, _ agent: String, _ server: RecordServer, _ folder: RecordingFolder
  ) throws -> TargetEnding {
    for line in RunLimits.current.warnings(server.options) { complain(line) }
    if let line = AgentLibrary.missingTrampolines(beside: agent, for: server.options.tracer) {
      complain(line)
    }
    let target: TargetProcess
    do {
      target = try TargetProcess(program, words, agent: agent, server: server)
    } catch {
      folder.discard()
      throw error
    }
    let ending = target.follow(server)
    server.finish(exitStatus: ending.status)
    RecordSummary(program: program, server: server, output: folder.path).print()
    return ending
  }
}

/// The value of an environment variable; nil where it is not set.
func environment(_ name: String) -> String? {
  getenv(name).map { String(cString: $0) }
}

/// How the program ended.
enum TargetEnding: Equatable {
  case exit(Int32)
  case signal(Int32)

  /// As a shell has it: 128 and the signal's number for a signal.
  var status: Int32 {
    switch self {
    case .exit(let status): status
    case .signal(let signal): 128 + signal
    }
  }

  /// Ends this process as the program ended.
  func passOn() throws {
    if case .signal(let signal) = self { nrc_die_of(signal) }
    if status != 0 { throw ExitCode(status) }
  }
}
