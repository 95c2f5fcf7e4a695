// SPDX-License-Identifier: Apache-2.0

import CRecorder

/// One run of a program that is recorded: makes the recording, starts the program, serves its
/// agents, and closes the recording.
public final class RecordedRun {
  /// The recorder of the run.
  public let server: RecordServer
  private let folder: RecordingFolder
  private let program: TargetProgram
  private let words: [String]
  private let agent: String

  /// How long nopscope waits for processes that outlive the program before it tells the user.
  private static let tellNanoseconds: UInt64 = 200_000_000

  /// Makes the recording at `output`. Where that fails, nothing is left of it, and an earlier
  /// recording stays where it was.
  ///
  /// `words` are the program's name and its arguments, `agent` the path of the agent's library.
  public init(
    _ program: TargetProgram, words: [String], agent: String, output: String,
    options: RecordOptions, source: SiteSource, clock: TraceClock
  ) throws {
    (server, folder) = try RecordServer.make(
      at: output, command: words, options: options, source: source, clock: clock)
    self.program = program
    self.words = words
    self.agent = agent
  }

  /// Starts the program, serves until it and every process that it left behind have ended, and
  /// closes the recording. A Ctrl-C after the program's end stops waiting for the others.
  ///
  /// `tell` is called once where processes are waited for, with their number. Where the program
  /// cannot be started, nothing is left of the recording.
  public func run(whenWaiting tell: @escaping (Int) -> Void) throws(TargetError) -> TargetEnding {
    let target: TargetProcess
    server.recordSwitches()
    do {
      target = try TargetProcess(program, words, agent: agent, server: server)
    } catch {
      folder.discard()
      throw error
    }
    server.gate.begin()
    server.prepare()
    let ending = follow(target)
    // Handle the messages that were on their way when the program ended.
    server.loop.turn(milliseconds: 0)
    server.beginToEnd()
    tellLater(tell)
    while !target.isInterrupted,
      server.activeProcesses > 0 || server.waitForUnconnectedChildren(of: target.pid)
    {
      server.loop.turn(milliseconds: -1)
    }
    server.finish(exitStatus: ending.status)
    return ending
  }

  private func follow(_ target: TargetProcess) -> TargetEnding {
    while true {
      if let ending = target.ending { return ending }
      server.loop.turn(milliseconds: -1)
    }
  }

  private func tellLater(_ tell: @escaping (Int) -> Void) {
    server.loop.after(nanoseconds: Self.tellNanoseconds) { [weak self] in
      guard let self else { return }
      let count = server.connectedProcesses
      if count > 0 { tell(count) } else { tellLater(tell) }
    }
  }
}
